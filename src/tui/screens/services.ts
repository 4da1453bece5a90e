import { addressPort } from '../../address-port.ts'
import { holderText } from '../../cli/row-text.ts'
import { latest } from '../history.ts'
import { short } from '../text.ts'
import { cell, rateCells, type Screen } from './screen.ts'

export const services: Screen = {
  id: 'services',
  columns: [
    { id: 'service', head: 'SERVICE', min: 8 },
    { id: 'vip', head: 'VIP' },
    { id: 'protocol', head: 'PROTO', drop: 5 },
    { id: 'holder', head: 'HOLDER', drop: 6 },
    { id: 'ready', head: 'READY', right: true },
    { id: 'flows', head: 'FLOWS', right: true },
    { id: 'connections', head: 'TOTAL', right: true, drop: 4 },
    { id: 'rate', head: 'CONN/S', right: true },
    { id: 'packets', head: 'PKT/S', right: true, drop: 2 },
    { id: 'bytes', head: 'BYTE/S', right: true, drop: 3 },
    { id: 'trend', head: 'CONN/S, LAST 60', grow: 60, min: 15, drop: 1, sorts: false },
  ],
  sort: { column: 'service', reverse: false },
  rows: ({ vips }, history) =>
    vips.vips.map(row => {
      // The agent of a node that chooses no hosts knows only which agents are alive.
      const { ready } = row
      const style =
        (ready ?? row.live) === 0 ? 'bad' : (ready ?? row.live) < row.hosts || row.fallback ? 'odd' : 'good'
      const rate = latest(history, `service ${row.service}`)
      return {
        key: row.service,
        cells: [
          cell(row.service),
          cell(addressPort(row.vip, row.port)),
          cell(row.protocol),
          cell(holderText(row), row.ordered ? { short: `${row.holder}*` } : {}),
          cell(`${ready ?? '-'}/${row.hosts}`, { sort: ready ?? -1, style }),
          cell(row.flows),
          cell(row.connections === null ? null : short(row.connections), { sort: row.connections ?? -1 }),
          cell(rate === null ? null : short(rate), { sort: rate ?? -1 }),
          ...rateCells(row.rates),
          { text: '', series: history.series[`service ${row.service}`] ?? [] },
        ],
      }
    }),
  open: key => ({ screen: 'health', service: key }),
  flows: key => ({ service: key }),
  details: () => null,
  empty: 'no services; a document names them: shunt apply -f FILE',
}
