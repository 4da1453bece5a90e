/**
 * What a new connection costs at the balancer, by who gives it to its host: the kernel, the agent, HAProxy. One lab, in turns; medians and
 * ratios. Needs root. `bench/first-packets.ts [--quick]`
 */
import { measureConnections, type Target } from './connections.ts'
import { removeBalancers } from './lib/balancers.ts'
import { AGENT_PORT, builtBinary, comparisonLab } from './lib/setup.ts'
import { median, short } from './lib/stats.ts'

const quick = process.argv.includes('--quick')
const ROUNDS = quick ? 3 : 5
const SECONDS = quick ? 2 : 3
const ORDER: readonly Target[] = ['shunt', 'agent', 'haproxy', 'nft']
const AIM = 1 / 8

const say = (text: string): void => void process.stdout.write(`${text}\n`)
const progress = (text: string): void => void process.stderr.write(`${text}\n`)

const lab = await comparisonLab(ROUNDS + 1, {
  binary: process.argv.includes('--source') ? undefined : builtBinary(),
  dataplane: 'xdp',
  services: [
    { name: 'web', vip: '10.99.0.1', port: 80, protocol: 'tcp' },
    { name: 'agent', vip: '10.99.0.1', port: AGENT_PORT, protocol: 'tcp' },
  ],
  configure: config => {
    // Each first packet of it is the agent's to choose for.
    for (const service of config.services ?? [])
      if (service.name === 'agent') service.choice = { scheme: 'percentages' }
  },
})
try {
  const runs = await measureConnections(lab, ROUNDS, SECONDS, ORDER, run =>
    progress(
      `  ${run.round + 1} ${run.target}: ${Math.round(run.perSecond)}/s, ${short(run.cpuUs)} us, slow ${short(run.counters.forwarder_slow_packets ?? 0)}, others ${short(100 * run.foreign)} %`,
    ),
  )
  const failed = runs.reduce((sum, run) => sum + run.failed, 0)
  const us = (target: Target): number =>
    median(runs.filter(run => run.target === target).map(({ cpuUs }) => cpuUs))
  say(
    'CPU of the balancer for a new connection (HTTP request of its own, 32 at once; its idle use taken off; on a',
  )
  say(
    `veth, where XDP is generic). Medians of ${ROUNDS} rounds, targets in turn; what others of the machine took is not in it.`,
  )
  for (const target of ORDER)
    say(
      `  ${target === 'shunt' ? 'kernel' : target}: ${short(us(target))} us, ${short(us(target) / us('haproxy'))} of HAProxy`,
    )
  say(`  kernel to agent: ${short(us('shunt') / us('agent'))}`)
  say(
    `  aim: kernel at most ${AIM} of HAProxy TCP: ${us('shunt') / us('haproxy') <= AIM ? 'met' : 'NOT met'}`,
  )
  if (failed > 0) say(`  ${failed} requests failed`)
} finally {
  await lab.down()
  removeBalancers(lab.name)
}
