/** Reads a ring buffer as the data plane's worker does: blocked in poll(2), woken by records or by an eventfd. */
import { readlinkSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { BpfMap } from '../../src/os/bpf/map.ts'
import { BpfRing } from '../../src/os/bpf/ring.ts'
import { EventFd } from '../../src/os/eventfd.ts'
import { Poller } from '../../src/os/poller.ts'

const { ringFd, stopFd, readyFd } = workerData as { ringFd: number; stopFd: number; readyFd: number }
const map = BpfMap.attach(ringFd)
const ring = new BpfRing(map)
const stop = EventFd.attach(stopFd)
const poller = new Poller()
poller.add(ring.fd)
const stopIndex = poller.add(stop.fd)

const sequences: bigint[] = []
/** Wake-ups with nothing to do: a poll that does not wait gives thousands. */
let idle = 0
parentPort?.postMessage({ thread: readlinkSync('/proc/thread-self') })
EventFd.attach(readyFd).signal()
while (true) {
  poller.wait(-1)
  if (ring.receive(64, (view, offset) => sequences.push(view.getBigUint64(offset, true))) > 0) continue
  if (poller.ready(stopIndex)) break
  idle++
}
ring.close()
map.close()
parentPort?.postMessage({ sequences, idle })
