/** shunt-cluster.yaml(5), from the descriptions in the schema. */
import { clusterJsonSchema } from '../../src/config/json-schema.ts'
import { type Schema, walk } from './keys.ts'
import { example, header, paragraphs, raw, section, seeAlso } from './roff.ts'

export const clusterFilePage = (version: string, exampleText: string): string =>
  [
    header('shunt-cluster.yaml', 5, version),
    section('NAME'),
    raw('shunt\\-cluster.yaml \\- what a shunt cluster serves'),
    section('DESCRIPTION'),
    paragraphs(`The cluster document describes, once for all nodes of a managed cluster, what clients reach at virtual IPs and
which hosts run it. It is YAML 1.2, or JSON, of at most 128 KiB. Names are 1 to 63 of a-z, 0-9 and -. Times are
milliseconds.

shunt plan shows what a document would change. shunt apply signs it with the operator's key and gives it a revision number;
all nodes take it over. A change is refused when another came first. shunt config history lists revisions, shunt
config show prints one, shunt rollback returns to one.

shunt config check FILE reports every error with its line. shunt config schema cluster prints a JSON Schema for editors.
An unknown key is an error.`),
    section('KEYS'),
    walk(clusterJsonSchema() as Schema, ''),
    section('RULES'),
    paragraphs(`Names of pools and of services are unique, and so are virtual IP, port and protocol together. A pool has a host
once; all pools together have at most 255 hosts. A virtual IP is a unicast address (neither loopback nor link-local) and not the address of a node.
timeouts.routeLease is at most half of timeouts.tcpIdle. overload.resume is less than overload.drain.

Of a service's health, port is for the types tcp, http and https; path, host, status and body are for http and https;
command is for exec, which needs it. A service of UDP is probed by exec, or at a TCP port that health.port gives. Of a
service's choice, strategy and tokens are for the scheme tokens.

A host probes its own endpoint, at the virtual IP, and never through the balancer. While nothing is known of an endpoint,
which then takes connections, it is probed four times as often, and one good probe makes it healthy.

An application that fails gets no new connections, and those that it has go on: its machine still answers them, or resets them when the
application is dead. So a check that is made to fail on purpose drains a host gently. With whenFailing: inactive no packet at all reaches it: its
connections stand still, and go on when it is healthy again, if their ends have waited so long. An operator's order stands beside that; the
stricter of the two holds. A change of whenFailing counts at once, for applications that fail already too.

New connections of a service go to hosts whose agents are in touch, whose application listens and does not fail, and that neither an
operator nor too much load drains. When no such host is left, those that only drain for overload are used all the same, by their
capacity alone; when there are none of these either, those whose only fault is that their application fails. What an operator
drained, what nothing listens for, and a host that is out of touch is never used: then new connections are dropped and counted
(shunt drops). shunt vips shows how many hosts are ready and warns of a service that has none; shunt hosts -o wide says why.

A host that is no member of the cluster, or lacks the role host, takes no connections; shunt plan warns of it. It
takes them as soon as it has joined and has the role.`),
    section('EXAMPLE'),
    example(exampleText.replace(/^#.*\n/gm, '')),
    seeAlso([
      ['shunt', 1],
      ['shunt-apply', 1],
      ['shunt-config-check', 1],
      ['shunt-plan', 1],
      ['shunt-rollback', 1],
      ['shunt-node.yaml', 5],
    ]),
  ].join('')
