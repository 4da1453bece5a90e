/** shunt-node.yaml(5), from the descriptions in the schema. */
import { nodeJsonSchema } from '../../src/config/json-schema.ts'
import { type Schema, walk } from './keys.ts'
import { example, header, paragraphs, raw, section, seeAlso } from './roff.ts'

const withoutComments = (text: string): string => text.replace(/^#.*\n/gm, '')

export const nodeFilePage = (version: string, managedText: string, staticText: string): string =>
  [
    header('shunt-node.yaml', 5, version),
    section('NAME'),
    raw('shunt\\-node.yaml \\- configuration of one shunt node'),
    section('DESCRIPTION'),
    paragraphs(`The node file tells an agent who it is and which interfaces and addresses it uses. It is YAML 1.2, or JSON. It is
read once, at start. Names are 1 to 63 of a-z, 0-9 and -. Files are absolute paths. Times are
milliseconds.

There are two kinds. A node file without cluster.secrets is of a managed cluster: shunt init and shunt join write it,
and the node's roles, the other nodes, the secrets and the services come from what the cluster agreed on (shunt nodes,
shunt roles, shunt keys rotate, shunt apply). A node file with cluster.secrets is of a static cluster: it says all of that
itself, and nothing of it changes while agents run.

shunt config check FILE reports every error with its line; rules between values are checked once every value is valid
by itself. shunt config schema prints a JSON Schema for editors. An unknown key is an error.`),
    section('KEYS'),
    walk(nodeJsonSchema() as Schema, ''),
    section('RULES'),
    paragraphs(`In every file, addresses.cluster and addresses.tunnel differ, and timeouts.routeLease is at most half of
timeouts.tcpIdle. With addresses.tunnel a node can be a forwarder and, in a managed cluster, has an uplink interface.
timeouts of the cluster document win over those here.

In a managed cluster, roles, peers, services, groups and overload must not be here. In a static one, roles must, and:

Names and peer ids of nodes are unique, and so are all their cluster and tunnel addresses. A forwarder
has a tunnel address and an uplink interface. Where there are forwarders, there is at least one classifier, here or
among the peers. A virtual IP is not the address of a node; virtual IP, port and protocol together are used by one
service. The hosts of a service are peers, or this node, with the role host; a cluster has at most 255 of them. What goes
together in health, choice and overload is said in shunt-cluster.yaml(5).`),
    section('EXAMPLES'),
    paragraphs('A node of a managed cluster:'),
    example(withoutComments(managedText)),
    paragraphs('A node of a static cluster:'),
    example(withoutComments(staticText)),
    seeAlso([
      ['shunt', 1],
      ['shunt-agent', 1],
      ['shunt-cluster.yaml', 5],
      ['shunt-config-check', 1],
      ['shunt-keygen', 1],
    ]),
  ].join('')
