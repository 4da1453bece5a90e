/**
 * Loads the probe, attaches it and pins all of it: `bpf-holder.ts OWNER INTERFACE_INDEX MODE`, in the network namespace of the
 * interface. Then it says "ready" and waits to be killed.
 */
import { join } from 'node:path'
import { pinFolder } from '../../src/os/bpf/bpffs.ts'
import { attachXdp, type XdpMode } from '../../src/os/bpf/link.ts'
import { loadProbe } from './bpf.ts'

const [owner, interfaceIndex, mode] = process.argv.slice(2)
const folder = pinFolder(owner)
const probe = loadProbe()
const { link } = attachXdp(probe.program('probe'), Number(interfaceIndex), mode as XdpMode)
for (const name of ['counts', 'sources', 'events', 'data']) probe.map(name).pin(join(folder, name))
probe.program('probe').pin(join(folder, 'program'))
link.pin(join(folder, 'link'))
process.stdout.write('ready\n')
setInterval(() => {}, 1 << 30)
