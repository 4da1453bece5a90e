/** Runs a program again and again in a thread of its own, for as long as it is told. */
import { parentPort, workerData } from 'node:worker_threads'
import { BpfProgram } from '../../src/os/bpf/program.ts'

const { fd, milliseconds } = workerData as { fd: number; milliseconds: number }
const program = new BpfProgram(fd)
let runs = 0
for (const end = performance.now() + milliseconds; performance.now() < end; runs += 10_000)
  program.testRun({ data: new Uint8Array(64), repeat: 10_000 })
parentPort?.postMessage(runs)
