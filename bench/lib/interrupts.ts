/** Function call interrupts: how often one CPU woke the other to receive packets, an effect of the steering. */
import { readFileSync } from 'node:fs'

/** Received so far by a CPU. */
export const wakeups = (cpu: number): number => {
  const line = /^\s*CAL:\s+(.*)$/m.exec(readFileSync('/proc/interrupts', 'utf8'))
  return Number(line?.[1].trim().split(/\s+/)[cpu] ?? 0)
}
