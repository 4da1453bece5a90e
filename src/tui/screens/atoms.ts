import { bytes, percent } from '../../cli/format.ts'
import { serviceSettledText, settledText } from '../../control/atom-copies.ts'
import type { AtomsData, ServiceAtomsRow } from '../../control/types.ts'
import { type Cell, cell, type Screen } from './screen.ts'

const memberText = ({ name, self, leaving, linked }: AtomsData['members'][number]): string =>
  self ? `${name} (this node)` : leaving ? `${name} leaving` : linked ? name : `${name} away`

/** What does not depend on the service. */
const facts = (data: AtomsData): [string, string][] => [
  ['settled', settledText(data)],
  ['members', data.members.map(memberText).join(', ') || '-'],
  [
    'table',
    `${data.used} of ${data.capacity} (${percent(data.used, data.capacity)}), ${data.evicted} evicted`,
  ],
  ['memory', `${bytes(data.bytes)} when full`],
  ['own', `${data.places.own}, of which ${data.unsure} are to be checked with their hosts`],
  ['copies', `${data.places.copies} for other members`],
  ['cached', `${data.places.cached} looked up lately`],
  ['ended', `${data.places.ended} lately`],
]

const settledCell = (row: ServiceAtomsRow, data: AtomsData): Cell => {
  const text = serviceSettledText(row, data)
  return { text, style: text === 'yes' ? 'good' : 'odd' }
}

export const atoms: Screen = {
  id: 'atoms',
  columns: [
    { id: 'service', head: 'SERVICE', min: 8 },
    { id: 'wanted', head: 'COPIES WANTED', right: true },
    { id: 'own', head: 'OWN', right: true },
    { id: 'copies', head: 'KEPT FOR OTHERS', right: true },
    { id: 'settled', head: 'SETTLED', drop: 1 },
    { id: 'members', head: 'MEMBERS', right: true, drop: 2 },
  ],
  sort: { column: 'service', reverse: false },
  rows: ({ atoms: data }) =>
    data === null || data.incarnation === null
      ? []
      : data.services.map(row => ({
          key: row.service,
          cells: [
            cell(row.service),
            cell(String(row.wanted), { sort: typeof row.wanted === 'number' ? row.wanted : 99 }),
            cell(row.own),
            cell(row.copies),
            settledCell(row, data),
            cell(data.members.length),
          ],
        })),
  open: () => null,
  flows: key => ({ service: key }),
  details: (key, { atoms: data }) => {
    const row = data?.services.find(({ service }) => service === key)
    if (data === null || row === undefined) return null
    return {
      title: `connections of ${key}`,
      facts: [
        ['copies', `${row.wanted} wanted of each, besides its owner's`],
        ['own', `${row.own} that this node answers for`],
        ['kept', `${row.copies} for others`],
        ...facts(data).map(([name, text]): [string, string] => [`all: ${name}`, text]),
      ],
    }
  },
  empty: 'this node is neither forwarder nor classifier, or its agent is of an earlier version',
}
