import { cell, type Screen, stateStyle } from './screen.ts'

/** `14:42:09`, UTC like everything here. */
export const clockOf = (iso: string): string => /T(\d\d:\d\d:\d\d)/.exec(iso)?.[1] ?? iso

export const events: Screen = {
  id: 'events',
  columns: [
    { id: 'time', head: 'TIME' },
    { id: 'severity', head: 'SEVERITY' },
    { id: 'subject', head: 'SUBJECT', min: 8 },
    { id: 'kind', head: 'KIND', drop: 1 },
    { id: 'text', head: 'EVENT', grow: 400, min: 20 },
  ],
  sort: { column: 'time', reverse: true },
  rows: snapshot =>
    snapshot.events.map(event => ({
      key: String(event.sequence),
      cells: [
        cell(clockOf(event.time), { sort: event.sequence }),
        cell(event.severity, { style: stateStyle(event.severity) }),
        cell(event.subject),
        cell(event.kind),
        cell(event.text),
      ],
    })),
  open: () => null,
  details: (key, snapshot) => {
    const event = snapshot.events.find(row => String(row.sequence) === key)
    if (event === undefined) return null
    return {
      title: `event ${event.sequence}`,
      facts: [
        ['time', event.time],
        ['severity', event.severity],
        ['kind', event.kind],
        ['subject', event.subject],
        ['event', event.text],
      ],
    }
  },
  empty: 'nothing has happened since the agent started',
}
