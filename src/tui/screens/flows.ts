import { duration } from '../../cli/format.ts'
import type { FlowStatus } from '../../control/types.ts'
import { cell, type Screen, stateCell } from './screen.ts'

/** Identifiers are given again; with the client they are one flow. */
const keyOf = (flow: FlowStatus): string => `${flow.identifier} ${flow.protocol} ${flow.client}`
const pathOf = (flow: FlowStatus): string => (flow.plumbed ? 'kernel' : 'agent')

export const flows: Screen = {
  id: 'flows',
  columns: [
    { id: 'protocol', head: 'PROTO', drop: 1 },
    { id: 'client', head: 'CLIENT' },
    { id: 'vip', head: 'VIP', drop: 3 },
    { id: 'host', head: 'HOST', min: 8 },
    { id: 'state', head: 'STATE' },
    { id: 'path', head: 'PATH' },
    { id: 'slow', head: 'SLOW', right: true, drop: 2 },
    { id: 'idle', head: 'IDLE', right: true },
    { id: 'identifier', head: 'IDENTIFIER', drop: 4 },
  ],
  sort: { column: 'client', reverse: false },
  rows: snapshot =>
    (snapshot.flows?.flows ?? []).map(flow => ({
      key: keyOf(flow),
      cells: [
        cell(flow.protocol),
        cell(flow.client),
        cell(flow.vip),
        cell(flow.host),
        stateCell(flow.state),
        stateCell(pathOf(flow)),
        cell(flow.slowPackets),
        cell(duration(flow.idleMs), { sort: flow.idleMs }),
        cell(flow.identifier),
      ],
    })),
  open: () => null,
  details: (key, snapshot) => {
    const flow = snapshot.flows?.flows.find(row => keyOf(row) === key)
    if (flow === undefined) return null
    return {
      title: `flow ${flow.identifier}`,
      facts: [
        ['protocol', flow.protocol],
        ['client', flow.client],
        ['VIP', flow.vip],
        ['host', flow.host],
        ['state', flow.state],
        ['path', flow.plumbed ? 'the kernel forwards it' : 'the agent forwards it'],
        ['origin', flow.origin],
        ['slow path', `${flow.slowPackets} packets went through the agent`],
        ['idle', duration(flow.idleMs) ?? '-'],
      ],
    }
  },
  empty: 'no flows through this node',
}
