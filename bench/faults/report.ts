/** The suite's report: the method, and a row for each fault and balancer. */
import { cpus, loadavg, release } from 'node:os'
import { type Column, table } from '../../src/cli/table.ts'
import { type Driver, WAYS } from './contract.ts'
import type { Options } from './lib/options.ts'
import { brokenShare, type Repetition, type Row, rowsOf, spread } from './lib/summary.ts'

export const methodText = (
  options: Options,
  drivers: readonly Driver[],
): string => `Method. Each balancer in turn stands in network namespaces of one lab: client - router - switch - balancers and three hosts, 1500-byte packets, no
offloads; the same client, applications and load for all. ${options.idle} idle and ${options.active} active TCP connections, from one address that no run before
had, to an application that says which host it is on and sends back what comes. All bytes are compared. Half of them are opened while the second host is
drained, the others when it is back: so that what a balancer would choose now is not what it chose then. Active ones send up to 4 kB, 50 ms
after the last answer. Idle ones send 64 bytes before the fault, while it stands and when it is over. Every 20 ms a new connection is made, asked, and closed.
The fault stands for ${options.holdMs} ms. Repetitions of the balancers take turns: ${options.repeat} of each.
  broken      connections that ended, gave a wrong byte, or no answer within 30 s after all was well again; no client makes one again
  own         those of the applications on a host that died: they cannot live on, and count nowhere else
  stall ms    the longest that an active connection waited for an answer (TCP repeats after 200 ms, and doubles that each time)
  new held    the longest time in which new connections failed or took 500 ms (a lost SYN is repeated after a second), to the begin of the first good one
  new failed  new connections that failed, of some ${Math.round((options.holdMs + 3000) / 20)} a repetition
  redundant   ms until each connection could stand one more loss; -: the balancer cannot tell
Figures: least/median/most of the repetitions, one figure where all are the same.
Faults: ${Object.entries(WAYS)
  .map(([way, text]) => `${way}: ${text}`)
  .join('. ')}.
${drivers.map(({ name, about }) => `${name}: ${about}`).join('.\n')}.
Machine: ${cpus()[0]!.model.trim()}, ${cpus().length} CPUs, Linux ${release()}; load before: ${loadavg()[0]!.toFixed(1)}
`

const of =
  (pick: (outcome: Row['outcomes'][number]) => number | null) =>
  (row: Row): string =>
    spread(row.outcomes.map(pick))

const columns = (connections: number): Column<Row>[] => [
  { head: 'FAULT', cell: row => `${row.component}: ${row.way}` },
  { head: 'BALANCER', cell: row => row.driver },
  { head: 'RUNS', right: true, cell: row => row.outcomes.length },
  { head: 'BROKEN', right: true, cell: of(({ brokenIdle, brokenActive }) => brokenIdle + brokenActive) },
  { head: '%', right: true, cell: row => brokenShare(row, connections) },
  { head: 'OWN', right: true, cell: of(({ own }) => own) },
  { head: 'STALL MS', right: true, cell: of(({ stallMs }) => stallMs) },
  { head: 'NEW HELD MS', right: true, cell: of(({ newHeldMs }) => newHeldMs) },
  { head: 'NEW FAILED', right: true, cell: of(({ newFailed }) => newFailed) },
  { head: 'REDUNDANT MS', right: true, cell: of(({ redundantMs }) => redundantMs) },
  { head: 'NO RESULT', right: true, cell: row => (row.failed === 0 ? null : row.failed) },
]

export const reportText = (
  repetitions: readonly Repetition[],
  options: Options,
  skipped: ReadonlyMap<string, string>,
): string => {
  const rows = rowsOf(repetitions, options.drivers)
  const errors = repetitions.flatMap(({ driver, component, way, error }) =>
    error === null ? [] : [`no result: ${driver}, ${component} ${way}: ${error}\n`],
  )
  const notes = [...skipped].map(([driver, why]) => `skipped ${driver}: ${why}\n`)
  return `${table(columns(options.idle + options.active), rows)}${errors.join('')}${notes.join('')}`
}
