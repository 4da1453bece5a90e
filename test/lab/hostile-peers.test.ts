/** Nodes that should not be let in, and strangers at the control port, while good requests go on (decision 9). */
// test-beside-others
import { once } from 'node:events'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { NodeConfigInput } from '../../src/config/schema.ts'
import { createIdentity, createSecret } from '../../src/gossip/identity.ts'
import { SHUNT } from '../support/cli.ts'
import { HostileLab } from '../support/hostile-lab.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('hostile peers')
const NODE = [process.execPath, '--no-warnings']
const CONTROL_PORT = 6780
let at: HostileLab

it.before(async () => {
  if (missingRoot() === undefined) at = await HostileLab.up({ forwarders: 2 })
})
it.after(() => at?.down())

const test = (name: string, body: () => Promise<void>): void => testIf(missingRoot(), it, name, body)

const counter = async (node: string, name: string): Promise<number> => {
  const value = (await at.status(node)).counters[name]
  assert.type(value, 'number', `${node} has a counter ${name}`)
  return value!
}

/**
 * Runs h2's agent with a changed node file until `refused` holds; nobody may take it for alive, and everybody else
 * must go on. Then the true h2 comes back.
 */
const impostor = async (
  change: (config: NodeConfigInput) => void,
  refused: () => Promise<boolean>,
): Promise<void> => {
  const others = at.lab.nodes.map(n => n.name).filter(n => n !== 'h2')
  let original: NodeConfigInput | undefined
  at.lab.kill('h2', 'SIGTERM')
  await at.until('h2 has stopped', async () => (await at.lab.agentState('h2')) === 'stopped')
  at.lab.configure('h2', config => {
    original = structuredClone(config)
    change(config)
  })
  const agent = at.lab.spawn('h2', [...SHUNT, 'agent', '--config', at.lab.files('h2').config])
  let said = ''
  for (const stream of [agent.stdout!, agent.stderr!])
    stream.on('data', chunk => {
      said += chunk
    })
  try {
    await at.until('the impostor runs', () =>
      at.status('h2').then(
        s => s.state === 'running',
        () => false,
      ),
    )
    await at.until(`it is refused (it says: ${said.slice(-2000)})`, refused)
    for (const node of others) {
      const seen = (await at.status(node)).peers.find(peer => peer.name === 'h2')
      assert.ok(seen!.state !== 'alive', `${node} takes the impostor for h2`)
    }
    const { state, peers } = await at.status('h2')
    assert.is(state, 'running', said)
    assert.equal(
      peers.filter(peer => peer.state === 'alive').map(peer => peer.name),
      [],
      'peers of the impostor',
    )
    const before = at.answers.length
    await at.unharmed(['h2'])
    assert.equal([...new Set(at.answers.slice(before).map(answer => answer.body))], ['h1\n'])
  } finally {
    const ended = once(agent, 'exit')
    agent.kill('SIGTERM')
    await ended
    at.lab.configure('h2', config => {
      for (const key of Object.keys(config)) delete (config as Record<string, unknown>)[key]
      Object.assign(config, original)
    })
  }
  await at.lab.startAgent('h2')
  await at.expectPid('h2')
  await at.unharmed()
}

test('a node with another cluster secret is not let in', async () => {
  const file = join(at.lab.files('h2').dir, 'other.secret')
  createSecret(file)
  const failed = await counter('f1', 'link_inbound_handshake_failed')
  const dials = await counter('f1', 'link_dial_failures')
  await impostor(
    config => {
      config.cluster.secrets = [{ number: 1, file }]
    },
    // Who calls whom depends on the identities, which are other ones in each lab.
    async () =>
      (await counter('f1', 'link_inbound_handshake_failed')) > failed + 1 ||
      (await counter('f1', 'link_dial_failures')) > dials + 1,
  )
})

test('a node with the secret, but with an identity that nobody knows, is not let in', async () => {
  const file = join(at.lab.files('h2').dir, 'other.key')
  await createIdentity(file)
  const at0 = async (): Promise<number> => {
    let sum = 0
    for (const node of ['f1', 'f2', 'c1', 'h1'])
      sum +=
        (await counter(node, 'link_inbound_unknown_identity')) + (await counter(node, 'link_dial_failures'))
    return sum
  }
  const before = await at0()
  await impostor(
    config => {
      config.node.identityFile = file
    },
    async () => (await at0()) > before + 3,
  )
})

const helloRefused = async (): Promise<number> => {
  let sum = 0
  for (const node of ['f1', 'f2', 'c1', 'h1']) sum += await counter(node, 'link_hello_refused')
  return sum
}

test('the right identity with another role is not let in', async () => {
  const before = await helloRefused()
  await impostor(
    config => {
      config.roles = ['host', 'classifier']
    },
    async () => (await helloRefused()) > before + 3,
  )
})

test('the right identity under another name is not let in', async () => {
  const before = await helloRefused()
  await impostor(
    config => {
      config.node.name = 'h9'
      for (const service of config.services!)
        for (const host of service.hosts) if (host.name === 'h2') host.name = 'h9'
    },
    async () => (await helloRefused()) > before + 3,
  )
})

/** Opens connections and keeps them open: some silent, some with garbage, some with a byte now and then. */
const STRANGERS = `
import { connect } from 'node:net'
import { randomBytes } from 'node:crypto'
let closed = 0
const open = kind => {
  const socket = connect(${CONTROL_PORT}, process.argv[1])
  socket.on('error', () => {}).on('close', () => { closed++; setTimeout(open, 200, kind) })
  socket.on('connect', () => {
    if (kind === 0) return
    if (kind === 1) return void socket.write(randomBytes(1 + Math.floor(Math.random() * 3000)))
    if (kind === 2) return void socket.write(Buffer.concat([randomBytes(24), Buffer.alloc(4_000, 0x41)]))
    const timer = setInterval(() => socket.write(randomBytes(1)), 100)
    socket.on('close', () => clearInterval(timer))
  })
}
for (let i = 0; i < 100; i++) open(i % 4)
setInterval(() => console.log(closed), 200)`

test('garbage, silence and slow bytes at the control port keep nobody out, also not who comes back', async () => {
  const memory = async (): Promise<number> => (await at.status('f1')).memory.rssBytes
  const rss = await memory()
  const strangers = ['f1', 'c1'].map(node =>
    at.lab.spawn('router', [...NODE, '--input-type=module', '-e', STRANGERS, at.address(node)]),
  )
  let closed = 0
  for (const child of strangers)
    child.stdout!.on('data', chunk => {
      closed = Math.max(closed, Number(String(chunk).trim().split('\n').at(-1)))
    })
  try {
    await at.until('strangers were thrown out many times', () => closed > 600)
    await at.unharmed()
    for (const node of ['h1', 'c1', 'f1']) {
      await at.lab.restartAgent(node, { graceMs: 0 })
      await at.expectPid(node)
      await at.unharmed()
    }
    // Since its restart.
    await at.until('f1 refused strangers again', async () => {
      const failed = await counter('f1', 'link_inbound_handshake_failed')
      return failed + (await counter('f1', 'link_inbound_handshake_evicted')) > 50
    })
    assert.ok((await memory()) < rss + 150e6, 'the agent grew')
  } finally {
    for (const child of strangers) {
      const ended = once(child, 'exit')
      child.kill()
      await ended
    }
  }
  await at.unharmed()
})

/** Strangers that say as much as a nonce (32 bytes), made with no key of the cluster, and are thrown out. */
const NONCES = `
import { connect } from 'node:net'
import { randomBytes } from 'node:crypto'
let left = 12_000
let gone = 0
const open = () => {
  if (left-- <= 0) return
  const socket = connect(${CONTROL_PORT}, process.argv[1])
  socket.on('error', () => {}).on('close', () => { if (++gone === 12_000) console.log('done'); open() })
  socket.on('connect', () => socket.write(randomBytes(32)))
}
for (let i = 0; i < 20; i++) open()`

test('12,000 connections that come and go leave nothing behind in the agent', async () => {
  const child = at.lab.spawn('router', [...NODE, '--input-type=module', '-e', NONCES, at.address('h1')])
  try {
    await once(child.stdout!, 'data')
    const [limited, keyless] = [
      await counter('h1', 'link_inbound_rate_limited'),
      await counter('h1', 'link_inbound_wrong_network_key'),
    ]
    assert.ok(keyless > 50 && limited + keyless >= 11_000, `${limited} limited, ${keyless} without a key`)
    await at.unharmed()
    await at.lab.restartAgent('h2', { graceMs: 0 })
    await at.expectPid('h2')
    await at.unharmed()
  } finally {
    child.kill()
  }
})

it.run()
