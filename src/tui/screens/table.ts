/** The screens, in the order of their number keys. */
import type { ListState, ScreenId } from '../model.ts'
import { atoms } from './atoms.ts'
import { events } from './events.ts'
import { flows } from './flows.ts'
import { health } from './health.ts'
import { hosts } from './hosts.ts'
import { nodes } from './nodes.ts'
import type { Screen } from './screen.ts'
import { services } from './services.ts'

export const SCREENS: readonly Screen[] = [nodes, services, hosts, flows, events, health, atoms]

export const screenOf = (id: ScreenId): Screen => SCREENS.find(screen => screen.id === id)!

export const newList = (id: ScreenId): ListState => {
  const { sort } = screenOf(id)
  return { key: null, index: 0, top: 0, sort: sort.column, reverse: sort.reverse, filter: '' }
}
