/**
 * A prober in a process of its own, as a child of lab tests: `prober-process.ts NETNS OWN_ADDRESS NAME=ADDRESS...`.
 * Prints a line `MONOTONIC_MS NAME STATE` for each change. Ends when its standard input does.
 */
import { readSync } from 'node:fs'
import { Prober } from '../../src/agent/dataplane/prober.ts'
import { parseIpv4 } from '../../src/os/inet.ts'
import { enterNetns } from '../../src/os/netns.ts'
import { Poller } from '../../src/os/poller.ts'

const [netns, own, ...targets] = process.argv.slice(2)
enterNetns(netns)
const prober = Prober.open(own)
prober.setTargets(
  targets.map(target => {
    const [name, address] = target.split('=')
    return { name, ipv4: parseIpv4(address) }
  }),
  performance.now(),
)
const poller = new Poller()
const replies = poller.add(prober.fd)
const input = poller.add(0)
const states = new Map<string, string>()
for (;;) {
  poller.wait(prober.waitMs(performance.now()))
  if (poller.ready(input) && readSync(0, Buffer.alloc(64)) === 0) break
  for (const { name, state } of prober.turn(performance.now(), poller.ready(replies)) ?? []) {
    if (states.get(name) === state) continue
    states.set(name, state)
    process.stdout.write(`${Number(process.hrtime.bigint()) / 1e6} ${name} ${state}\n`)
  }
}
prober.close()
