/** What passes a second, for tables. An agent of an earlier version tells none. */
import type { Rates } from '../control/types.ts'
import { bytes, compact } from './format.ts'
import type { Column } from './table.ts'

export const rateColumns = <T extends { rates?: Rates | null }>(): Column<T>[] => {
  const column = (head: string, of: (rates: Rates) => number | null): Column<T> => ({
    ...{ head, right: true },
    cell: ({ rates }) => {
      const rate = rates ? of(rates) : null
      return rate === null ? null : compact(rate)
    },
  })
  return [
    column('PKT/S', rates => rates.packets),
    column('BYTE/S', rates => rates.bytes),
    column('CONN/S', rates => rates.connections),
  ]
}

export const trafficText = ({ packets, bytes: size, connections }: Rates): string =>
  `${compact(packets)} packets/s, ${bytes(Math.round(size))}/s${connections === null ? '' : `, ${compact(connections)} new connections/s`}`
