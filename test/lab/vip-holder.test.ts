/** VIPs announced by ARP and neighbour discovery (R-A6): one forwarder answers for each, whatever happens to machines, agents and the network. */
// test-beside-others
// test-timeout-ms: 150000
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { FailoverData, NodesData, StatusData, VipsData } from '../../src/control/types.ts'
import { Lab } from '../../src/lab/lab.ts'
import type { LabOptions } from '../../src/lab/up.ts'
import { partition } from '../support/cluster-orders.ts'
import { labName, leftovers } from '../support/lab.ts'
import { missingRoot, testIf } from '../support/skip.ts'
import { program, until, VIP } from '../support/traffic.ts'
import { whoAnswers } from '../support/who-answers.ts'

const it = suite('vip-holder')
const when = (name: string, run: () => Promise<void>): void => testIf(missingRoot(), it, name, run)
const VIP2 = '10.99.0.2'
const VIP6 = 'fd10:99::1'
const VIPS = [VIP, VIP2, VIP6]
const FORWARDERS = ['f1', 'f2']
const PATIENCE_MS = 30_000
/** Longer than the load of a test run makes anything. */
const UNATTENDED_MS = 60_000

let lab: Lab

/** @param parts which nodes there are */
const up = async (parts: Pick<LabOptions, 'combine' | 'classifiers'>): Promise<void> => {
  lab = await Lab.up({
    name: labName(),
    forwarders: 2,
    hosts: 2,
    announce: 'arp',
    services: [
      { name: 'web', vip: VIP, port: 80, protocol: 'tcp' },
      { name: 'more', vip: VIP2, port: 80, protocol: 'tcp' },
      { name: 'six', vip: VIP6, port: 80, protocol: 'tcp' },
    ],
    configure: config => {
      config.timeouts = { unattended: UNATTENDED_MS, vipHold: 2_000, drain: 1_000 }
    },
    ...parts,
  })
  // A switch that has lost a port sends what was for it to all others for a while, and an interface of a lab takes all that it gets: then
  // nobody would notice a death.
  for (const { name } of lab.nodes)
    await lab.exec('switch', ['bridge', 'link', 'set', 'dev', `to-${name}`, 'flood', 'off'])
}

const down = async (): Promise<void> => {
  await lab?.down(0)
  if (lab !== undefined) assert.equal(leftovers(lab.name), [])
}

it.before(async () => {
  if (missingRoot() === undefined) await up({ combine: 'fc' })
})
it.after(down)

const holderAt = async (node: string, vip: string): Promise<string | null> =>
  (await lab.api<VipsData>(node, '/v1/vips')).vips.find(row => row.vip === vip)!.holder

/** One forwarder answers for the VIP, and those that live know which. */
const settled = (vip: string, among: readonly string[] = FORWARDERS): Promise<string> =>
  until(
    `one holder of ${vip}`,
    async () => {
      const answers = await whoAnswers(lab, vip)
      const [one] = answers
      if (answers.length !== 1) return
      for (const name of among) if ((await holderAt(name, vip)) !== one) return
      return one
    },
    PATIENCE_MS,
  )

/** The shares are even: nothing is about to move. */
const even = (): Promise<true> =>
  until(
    'each forwarder to hold a VIP or two',
    async () => {
      const holders = await Promise.all(VIPS.map(vip => holderAt('f1', vip)))
      return new Set(holders).size === 2 && !holders.includes(null) ? true : undefined
    },
    PATIENCE_MS,
  )

const reach = async (vip: string): Promise<void> => {
  const host = vip.includes(':') ? `[${vip}]` : vip
  const { stdout } = await lab.exec(lab.client(), ['curl', '-sg', '--max-time', '10', `http://${host}/`])
  assert.match(stdout, /^h[12]\n$/, `through ${vip}`)
}

const agentOf = async (at: string, whom: string): Promise<string> =>
  (await lab.api<NodesData>(at, '/v1/nodes')).nodes.find(({ name }) => name === whom)!.agent

/** A program at the client that answers a line with a line. */
const teller = (argv: string[]) => {
  const child = lab.spawn(lab.client(), argv)
  child.stdout!.setEncoding('utf8')
  const lines = createInterface({ input: child.stdout! })
  return {
    ask: async <T>(line = ''): Promise<T> => {
      child.stdin!.write(`${line}\n`)
      const [text] = (await once(lines, 'line')) as [string]
      return JSON.parse(text) as T
    },
    end: async (): Promise<void> => {
      child.stdin!.end()
      await once(child, 'exit')
    },
  }
}

interface Gap {
  gapMs: number
  good: number
  late: number
}

/** What a client that begins a connection every 10 ms notices of something. */
const gapOf = async (vip: string, what: () => Promise<void>): Promise<number> => {
  const client = teller([...program('gap-client.ts'), vip, '80', '10'])
  try {
    await until('the client to get through', async () =>
      (await client.ask<Gap>()).good > 5 ? true : undefined,
    )
    await client.ask('begin')
    await what()
    return (await client.ask<Gap>()).gapMs
  } finally {
    await client.end()
  }
}

const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}
const other = (name: string): string => FORWARDERS.find(each => each !== name)!

when('each VIP is answered for by one forwarder, spread over both; clients get through', async () => {
  await even()
  for (const vip of VIPS) {
    await settled(vip)
    await reach(vip)
  }
  const { stdout, code } = await lab.shunt('f1', ['vips'])
  assert.is(code, 0)
  assert.match(stdout, /HOLDER/)
  assert.match(stdout, new RegExp(`web +${VIP} +80 +tcp +f[12] `))
  assert.is(await holderAt('h1', VIP), null, 'a host does not know')
})

when(
  'the machine of the holder dies: another one answers at once, connections go on, and one holds when it is back',
  async () => {
    const gaps: number[] = []
    const kept = teller([...program('held-client.ts'), VIP, '80', '40001'])
    const [host] = await kept.ask<string[]>('5')
    for (let round = 0; round < 3; round++) {
      const holder = await settled(VIP)
      gaps.push(
        await gapOf(VIP, async () => {
          await lab.setLink(holder, 'down')
          await until('the other to hold it', async () =>
            (await holderAt(other(holder), VIP)) === other(holder) ? true : undefined,
          )
          assert.equal(await whoAnswers(lab, VIP), [other(holder)])
          await reach(VIP)
        }),
      )
      assert.equal(await kept.ask('5'), [host], 'the connection goes on, at its host')
      for (const vip of VIPS) assert.equal(await whoAnswers(lab, vip), [other(holder)], vip)
      await reach(VIP6)
      await lab.setLink(holder, 'up')
      await settled(VIP)
    }
    await kept.end()
    say(`  gap at the client after the death of the holder's machine: ${gaps.join(', ')} ms`)
    assert.ok(Math.max(...gaps) < 5_000, `the network believed it (${gaps.join(', ')} ms)`)
  },
)

when(
  'an agent that is killed or stands still: its machine goes on answering, and keeps what it held',
  async () => {
    await even()
    for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
      const holder = await settled(VIP)
      const before = await Promise.all(VIPS.map(vip => holderAt(other(holder), vip)))
      lab.kill(holder, signal)
      await until(
        'its agent to be missed',
        async () => ((await agentOf(other(holder), holder)) === 'dead' ? true : undefined),
        PATIENCE_MS,
      )
      assert.equal(await whoAnswers(lab, VIP), [holder], signal)
      assert.equal(await Promise.all(VIPS.map(vip => holderAt(other(holder), vip))), before, signal)
      if (signal === 'SIGKILL') await lab.startAgent(holder)
      else lab.kill(holder, 'SIGCONT')
      await until(
        'its agent to be back',
        async () => ((await agentOf(other(holder), holder)) === 'alive' ? true : undefined),
        PATIENCE_MS,
      )
      assert.is(await settled(VIP), holder, `after ${signal}`)
      for (const vip of VIPS) await reach(vip)
    }
  },
)

when(
  'forwarders that cannot hear each other both answer; healed, the one that saw more goes on alone',
  async () => {
    await even()
    const yielded = async (): Promise<number> =>
      (await lab.api<StatusData>('f1', '/v1/status')).counters.vips_yielded!
    const before = await yielded()
    const heal = await partition(lab, ['f1'])
    try {
      await until(
        'both to answer',
        async () => ((await whoAnswers(lab, VIP)).length === 2 ? true : undefined),
        PATIENCE_MS,
      )
      await until(
        'f1 to know that it is alone',
        async () => {
          const { nodes } = await lab.api<NodesData>('f1', '/v1/nodes')
          return nodes.every(({ self, node }) => self || node === 'dead') ? true : undefined
        },
        PATIENCE_MS,
      )
    } finally {
      await heal()
    }
    for (const vip of VIPS) await settled(vip)
    // Its shares it gets back when it has been there for a while.
    assert.is((await yielded()) - before, VIPS.length, 'f1 gave up all: the hosts were on the side of f2')
    await reach(VIP)
  },
)

when(
  'shunt failover moves a VIP and waits for it; where it goes it stays; it says what cannot be',
  async () => {
    for (const vip of [VIP, VIP6]) {
      const holder = await settled(vip)
      const to = other(holder)
      const gap = await gapOf(vip, async () => {
        const { code, stdout, stderr } = await lab.shunt('f1', ['failover', vip, '--to', to, '--json'])
        assert.is(code, 0, stderr)
        const data = (JSON.parse(stdout) as { data: FailoverData }).data
        assert.equal([data.vip, data.from, data.to, data.changed], [vip, holder, to, true])
        say(`  failover of ${vip}: ${data.tookMs.toFixed(1)} ms until the new holder said so`)
        assert.is(await settled(vip), to)
        await reach(vip)
      })
      say(`  gap at the client: ${gap} ms`)
    }
    const holder = await settled(VIP)
    const run = async (at: string, ...argv: string[]): Promise<[number | null, string]> => {
      const { code, stdout, stderr } = await lab.shunt(at, ['failover', ...argv])
      return [code, stdout + stderr]
    }
    assert.equal(await run('f1', VIP, '--to', holder), [
      0,
      `${holder} holds ${VIP} already, and it stays there\n`,
    ])
    for (const [at, argv, wanted, text] of [
      ['f1', ['10.99.0.77'], 2, /not announced by ARP/],
      ['f1', ['nowhere'], 2, /is an IP address/],
      ['f1', [VIP, '--to', 'h1'], 5, /h1 is no forwarder/],
      ['h1', [VIP], 5, /ask a forwarder/],
    ] as const) {
      const [code, said] = await run(at, ...argv)
      assert.is(code, wanted, said)
      assert.match(said, text)
    }
    // Without a place it goes to the other one; and is held there against its share.
    const [code] = await run('f2', VIP)
    assert.is(code, 0)
    assert.is(await settled(VIP), other(holder))
  },
)

when('a holder that is stopped hands over first; nobody notices', async () => {
  const holder = await settled(VIP)
  const gap = await gapOf(VIP, async () => {
    lab.kill(holder, 'SIGTERM')
    await until(
      'the other to hold all',
      async () => {
        const holders = await Promise.all(VIPS.map(vip => holderAt(other(holder), vip)))
        return holders.every(name => name === other(holder)) ? true : undefined
      },
      PATIENCE_MS,
    )
    assert.equal(await whoAnswers(lab, VIP), [other(holder)])
    await reach(VIP)
  })
  say(`  gap at the client while its holder leaves: ${gap} ms`)
  await until(
    'it to end',
    async () => ((await lab.agentState(holder)) === 'stopped' ? true : undefined),
    PATIENCE_MS,
  )
  for (const vip of VIPS) assert.equal(await whoAnswers(lab, vip), [other(holder)], vip)
})

when(
  'with a classifier of its own the kernel cannot go on alone: the VIPs of a dead agent are taken long before the grace is over; connections go on',
  async () => {
    await down()
    await up({ combine: 'none', classifiers: 1 })
    await even()
    const holder = await settled(VIP)
    const kept = teller([...program('held-client.ts'), VIP, '80', '40001'])
    const [host] = await kept.ask<string[]>('5')
    const gap = await gapOf(VIP, async () => {
      await reach(VIP)
      lab.kill(holder, 'SIGKILL')
      // Half of the grace.
      await until(
        'the other to hold all, alone',
        async () => {
          for (const vip of VIPS) if ((await whoAnswers(lab, vip)).join() !== other(holder)) return
          return true
        },
        UNATTENDED_MS / 2,
      )
      for (const vip of VIPS) await reach(vip)
      assert.equal(await kept.ask('5'), [host], 'the connection goes on, at its host')
    })
    say(`  gap at the client after the death of the holder's agent: ${gap} ms`)
    assert.equal(await kept.ask('5'), [host])
    await kept.end()
    await lab.startAgent(holder)
    for (const vip of VIPS) await settled(vip)
  },
)

it.run()
