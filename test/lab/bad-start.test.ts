/** An agent that cannot run says why and what to do, ends with 1 or 2, and leaves the machine as it was (decision 12). */
// test-beside-others
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { NodeConfigInput } from '../../src/config/schema.ts'
import { Lab } from '../../src/lab/lab.ts'
import { SHUNT } from '../support/cli.ts'
import { labName } from '../support/lab.ts'
import { missingRoot, testIf } from '../support/skip.ts'
import { NODE, until } from '../support/traffic.ts'

const it = suite('bad start')
/** A node with every role, so that there is as much to leave behind as there can be. */
const NAME = 'n1'
let lab: Lab
let good: string

it.before(async () => {
  if (missingRoot() !== undefined) return
  lab = await Lab.up({ name: labName(), agents: false, combine: 'all', hosts: 2, clients: 1 })
  good = readFileSync(lab.files(NAME).config, 'utf8')
})
it.after(() => lab?.down())

const agent = (): string[] => [...SHUNT, 'agent', '--config', lab.files(NAME).config]

/** Everything that an agent changes in its kernel. */
const kernel = async (): Promise<string> => {
  const { stdout } = await lab.exec(NAME, [
    'sh',
    '-c',
    'nft list ruleset; ip -o addr | sed "s/valid_lft.*//"; ip -o link show type tun; ip rule; ip route; sysctl -a 2>/dev/null | grep -E "^net.ipv4.*(rp_filter|arp_|forward)"',
  ])
  return stdout
}

type Undo = () => unknown

/** Starts an agent after `prepare`; it must end by itself, saying `why`, with nothing changed. */
const refuses = (
  name: string,
  why: RegExp,
  prepare: () => Undo | undefined | Promise<Undo | undefined>,
  command: (argv: string[]) => string[] = argv => argv,
): void =>
  testIf(missingRoot(), it, name, async () => {
    const undo = await prepare()
    try {
      const before = await kernel()
      const { code, stdout, stderr } = await lab.exec(NAME, command(agent()), { timeoutMs: 10_000 })
      const after = await kernel()
      assert.ok(code === 1 || code === 2, `exit code ${code}: ${stderr}`)
      assert.is(stdout, '')
      assert.match(stderr, why)
      assert.not.match(
        stderr,
        /SHUNT_ERR_INTERNAL|^ +at .*\.ts:\d+/m,
        'a user’s mistake is not an internal error',
      )
      assert.is(after, before)
    } finally {
      await undo?.()
      writeFileSync(lab.files(NAME).config, good)
      await cleanUp()
    }
  })

/** What a failed test left in the kernel is removed by an agent that starts and stops well. */
const cleanUp = async (): Promise<void> => {
  if (!(await kernel()).includes('table')) return
  const child = lab.spawn(NAME, agent())
  child.stderr!.on('data', chunk => {
    if (String(chunk).includes('agent running')) child.kill('SIGTERM')
  })
  await once(child, 'exit')
}

const changed = (mutate: (config: NodeConfigInput) => void) => (): undefined => {
  lab.configure(NAME, mutate)
}
const file = (name: string): string => join(lab.files(NAME).dir, name)
/** Writes a file that the changed configuration names. */
const withFile =
  (name: string, content: string, mutate: (config: NodeConfigInput, path: string) => void, mode = 0o600) =>
  (): Undo => {
    rmSync(file(name), { recursive: true, force: true })
    mkdirSync(join(file(name), '..'), { recursive: true })
    writeFileSync(file(name), content, { mode })
    lab.configure(NAME, config => mutate(config, file(name)))
    return () => rmSync(file(name))
  }

refuses('broken YAML', /node\.yaml:\d+:\d+ not valid YAML/, () => {
  writeFileSync(lab.files(NAME).config, `${good}\n  - ][`)
  return undefined
})
refuses(
  'two mistakes, both with their place',
  /node\.yaml:\d+:\d+ .*unknown key(?:.|\n)*node\.yaml:\d+:\d+ services\[0\]\.port: must be at most 65535/,
  changed(config => {
    Object.assign(config.node, { nmae: 'x' })
    config.services![0]!.port = 99_999
  }),
)
refuses(
  'no node file',
  /there is no node file \/nonexistent\/node\.yaml: shunt init .*shunt join/,
  () => undefined,
  argv => [...argv.slice(0, -1), '/nonexistent/node.yaml'],
)
refuses(
  'no secret',
  /cannot read the cluster secret \/nonexistent\/secret: it does not exist; make it with shunt keygen/,
  changed(config => {
    config.cluster.secrets[0]!.file = '/nonexistent/secret'
  }),
)
const secret = (config: NodeConfigInput, path: string): void => {
  config.cluster.secrets[0]!.file = path
}
refuses(
  'a secret that is none',
  /is not 32 bytes in one base64 line; copy it again/,
  withFile('bad.secret', 'abc', secret),
)
refuses(
  'a secret that all may read',
  /is open to other users \(mode 644\): run chmod 600/,
  withFile('open.secret', 'abc', secret, 0o644),
)
refuses(
  'no identity',
  /cannot read the identity \/nonexistent\/key: it does not exist; make it with shunt keygen/,
  changed(config => {
    config.node.identityFile = '/nonexistent/key'
  }),
)
refuses(
  'a damaged identity',
  /is damaged; restore it from a backup, or make a new one/,
  withFile('bad.key', 'abc', (config, path) => {
    config.node.identityFile = path
  }),
)
refuses(
  'the identity of another node',
  /peer n2 has this node's own id/,
  changed(config => {
    config.node.identityFile = lab.files('n2').identity
  }),
)
const stateDir = (config: NodeConfigInput, path: string): void => {
  config.node.stateDir = path
}
refuses(
  'a state directory that is a file',
  /state(?:.|\n)*(node\.stateDir|directory)/,
  withFile('state-file', '', stateDir),
)
refuses(
  'a state directory below a file',
  /state(?:.|\n)*(node\.stateDir|directory)/,
  withFile('state-file', '', (config, path) => stateDir(config, `${path}/x`)),
)
for (const content of ['{nope', '{"a":1}', 'null', '[1]'])
  for (const name of ['sysctls.json', 'addresses.json'])
    refuses(
      `${name} with ${content}`,
      new RegExp(`${name.replace('.', '\\.')} .*remove it`),
      withFile(`st/${name}`, content, (config, path) => stateDir(config, join(path, '..'))),
    )
for (const key of ['uplink', 'cluster'] as const)
  refuses(
    `no ${key} interface`,
    /there is no interface eth7; correct interfaces: in the node file/,
    changed(config => {
      config.interfaces[key] = ['eth7']
    }),
  )
refuses(
  'a cluster address that is not here',
  /10\.10\.0\.250.*(addresses\.cluster|ip address)/,
  changed(config => {
    config.addresses.cluster = '10.10.0.250'
  }),
)
refuses(
  'no nft command',
  /the nft command is missing: install the nftables package/,
  () => undefined,
  argv => ['env', 'PATH=/nonexistent', ...argv],
)
refuses(
  'a control socket path that is a directory',
  /exists and is not a socket; remove it or set node\.controlSocket/,
  changed(config => {
    config.node.controlSocket = lab.files(NAME).dir
  }),
)

/** Holds something of the node's until the test is over. */
const holding = (script: string) => async (): Promise<Undo> => {
  const child = lab.spawn(NAME, [...NODE, '-e', script.replaceAll('ADDRESS', lab.place(NAME).address!)])
  await once(child.stdout!, 'data')
  return async () => {
    const ended = once(child, 'exit')
    child.kill()
    await ended
  }
}
refuses(
  'a control port that is taken',
  /cannot listen for peers on .* port 6780 .*EADDRINUSE/,
  holding("require('net').createServer().listen(6780, 'ADDRESS', () => console.log('ready'))"),
)
refuses(
  'a mapping port that is taken',
  /6781.*EADDRINUSE.*another process holds that address and port/,
  holding("require('dgram').createSocket('udp4').bind(6781, 'ADDRESS', () => console.log('ready'))"),
)
refuses(
  'a second agent of the same node',
  /another agent has the state directory .*stop it first/,
  async () => {
    const child = lab.spawn(NAME, agent())
    let log = ''
    child.stderr!.on('data', chunk => {
      log += chunk
    })
    await until('the first agent runs', () => (log.includes('agent running') ? true : undefined))
    return async () => {
      const ended = once(child, 'exit')
      child.kill()
      await ended
    }
  },
)
refuses(
  'a device that has the name of the agent’s own',
  /shunt0.*(EBUSY|EINVAL).*(remove|ip link)/,
  async () => {
    await lab.exec(NAME, ['ip', 'tuntap', 'add', 'shunt0', 'mode', 'tap'])
    return () => lab.exec(NAME, ['ip', 'link', 'delete', 'shunt0'])
  },
)
refuses(
  'a user who is not root',
  /(needs root|permission denied)/,
  () => undefined,
  argv => ['setpriv', '--reuid=65534', '--clear-groups', ...argv],
)

testIf(missingRoot(), it, 'an interface that is down is named, in the refusal or in a warning', async () => {
  // Its routes go with it, and come back by hand.
  await lab.exec(NAME, ['ip', 'link', 'set', 'eth0', 'down'])
  const child = lab.spawn(NAME, agent())
  let said = ''
  try {
    const ended = once(child, 'exit')
    await new Promise<void>(resolve => {
      child.stderr!.on('data', chunk => {
        said += chunk
        if (said.includes('agent running')) resolve()
      })
      void ended.then(() => resolve())
    })
    child.kill('SIGTERM')
    await ended
    assert.match(said, /(eth0.*(is )?down|down.*eth0)/)
  } finally {
    child.kill('SIGKILL')
    await lab.exec(NAME, ['ip', 'link', 'set', 'eth0', 'up'])
    for (const route of lab.place(NAME).routes)
      await lab.exec(NAME, ['ip', 'route', 'replace', ...route.split(' ')])
  }
})

it.run()
