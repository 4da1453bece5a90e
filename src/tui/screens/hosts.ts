import { capacityText } from '../../cli/row-text.ts'
import { latest } from '../history.ts'
import { short } from '../text.ts'
import { absentFrom, directiveCell, endpointsOf, healthCell, loadCell } from './endpoints.ts'
import { cell, rateCells, type Screen, stateCell } from './screen.ts'

export const hosts: Screen = {
  id: 'hosts',
  columns: [
    { id: 'host', head: 'HOST', min: 8 },
    { id: 'address', head: 'ADDRESS', drop: 5 },
    { id: 'state', head: 'STATE' },
    { id: 'health', head: 'HEALTH' },
    { id: 'load', head: 'LOAD', right: true },
    // Without a cause: `draining>inactive`.
    { id: 'directive', head: 'DIRECTIVE', min: 17 },
    { id: 'capacity', head: 'CAPACITY', right: true, min: 8, drop: 4 },
    { id: 'flows', head: 'FLOWS', right: true },
    { id: 'connections', head: 'TOTAL', right: true, drop: 3 },
    { id: 'rate', head: 'CONN/S', right: true },
    { id: 'packets', head: 'PKT/S', right: true, drop: 6 },
    { id: 'bytes', head: 'BYTE/S', right: true, drop: 7 },
    { id: 'trend', head: 'LAST 60', grow: 60, min: 10, drop: 1, sorts: false },
    { id: 'services', head: 'SERVICES', min: 8, drop: 2 },
  ],
  sort: { column: 'host', reverse: false },
  rows: (snapshot, history) =>
    snapshot.hosts.hosts.map(row => {
      const applications = endpointsOf(snapshot.health, row.name)
      const rate = latest(history, `host ${row.name}`)
      return {
        key: row.name,
        cells: [
          cell(row.name),
          cell(row.address),
          stateCell(row.state),
          healthCell(applications, absentFrom(snapshot.health, row.name)),
          loadCell(applications),
          directiveCell(applications, snapshot.health?.shares ?? null),
          cell(capacityText(row), { sort: row.capacity }),
          cell(row.flows),
          cell(row.connections === null ? null : short(row.connections), { sort: row.connections ?? -1 }),
          cell(rate === null ? null : short(rate), { sort: rate ?? -1 }),
          ...rateCells(row.rates),
          { text: '', series: history.series[`host ${row.name}`] ?? [] },
          cell(row.services.join(',')),
        ],
      }
    }),
  open: key => ({ screen: 'health', host: key }),
  flows: key => ({ host: key }),
  details: () => null,
  empty: 'no hosts',
}
