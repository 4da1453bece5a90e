/** What the links count; all are totals since start. */
const NAMES = [
  'dials',
  'dial_failures',
  'links_opened',
  'links_closed',
  'links_silent',
  'goodbyes_in',
  'hello_refused',
  'frames_in',
  'frames_out',
  'bytes_in',
  'bytes_out',
  'frame_invalid',
  'frame_out_of_turn',
  'frame_wrong_role',
  'frame_unknown_type',
  'inbound_paused',
  'send_dropped_down',
  'send_dropped_full',
  'inbound_connections',
  'inbound_handshake_evicted',
  'inbound_handshake_failed',
  'inbound_unknown_identity',
  'inbound_wrong_direction',
] as const

export type LinkCounter = (typeof NAMES)[number]

export const newCounters = (): Record<LinkCounter, number> =>
  Object.fromEntries(NAMES.map(name => [name, 0])) as Record<LinkCounter, number>
