/**
 * Loads the probe, attaches it and pins all of it: `bpf-holder.ts FOLDER INTERFACE_INDEX NETNS MODE`. Then it says "ready" and waits
 * to be killed.
 */
import { join } from 'node:path'
import { attachXdp, type XdpMode } from '../../src/os/bpf/link.ts'
import { enterNetns } from '../../src/os/netns.ts'
import { loadProbe } from './bpf.ts'

const [folder, interfaceIndex, netns, mode] = process.argv.slice(2)
const probe = loadProbe()
enterNetns(netns)
const { link } = attachXdp(probe.program('probe'), Number(interfaceIndex), mode as XdpMode)
for (const name of ['counts', 'sources', 'events', 'data']) probe.map(name).pin(join(folder, name))
probe.program('probe').pin(join(folder, 'program'))
link.pin(join(folder, 'link'))
process.stdout.write('ready\n')
setInterval(() => {}, 1 << 30)
