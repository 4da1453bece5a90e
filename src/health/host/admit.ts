/** Which endpoints get a row: those that the wire can carry, within what one snapshot may hold. */
import { errorText } from '../../errors.ts'
import { appKey, canonicalApp } from '../app-id.ts'
import { ByteWriter } from '../bytes.ts'
import { writeRow } from '../codec-rows.ts'
import { MAX_ROWS, type Row } from '../types.ts'
import type { Endpoint } from './events.ts'

/** Of all rows together, so that a whole table, and any row change, is one message whatever it deflates to (MAX_HEALTH_BYTES). */
const MAX_TABLE_BYTES = 240_000

/** `isHeld`: those that have a row keep it when there are too many. `refused`: what to tell the operator. */
export const admitEndpoints = (
  endpoints: readonly Endpoint[],
  isHeld: (key: string) => boolean,
): { admitted: Map<string, Endpoint>; refused: string[] } => {
  const faults: string[] = []
  const valid = new Map<string, Endpoint & { bytes: number }>()
  for (const endpoint of endpoints) {
    const { app, capacity } = endpoint
    try {
      const canonical = canonicalApp(app)
      const key = appKey(canonical)
      if (!valid.has(key))
        valid.set(key, { ...endpoint, app: canonical, bytes: rowBytes(canonical, capacity) })
    } catch (error) {
      faults.push(errorText(error))
    }
  }
  const admitted = new Map<string, Endpoint>()
  let left = MAX_TABLE_BYTES
  let tooMany = 0
  const keys = [...valid.keys()]
  for (const key of [...keys.filter(isHeld), ...keys.filter(key => !isHeld(key))]) {
    const { bytes, ...endpoint } = valid.get(key)!
    if (admitted.size === MAX_ROWS || bytes > left) {
      tooMany++
      continue
    }
    left -= bytes
    admitted.set(key, endpoint)
  }
  const refused: string[] = []
  if (faults.length > 0) {
    const more = faults.length === 1 ? '' : ` (and ${faults.length - 1} more)`
    refused.push(`an endpoint gets no row: ${faults[0]}${more}; correct its service`)
  }
  if (tooMany > 0)
    refused.push(
      `${tooMany} endpoints get no row: a host has at most ${MAX_ROWS} rows of ${MAX_TABLE_BYTES} bytes in all; spread the services over more hosts`,
    )
  return { admitted, refused }
}

const rowBytes = (app: Row['app'], capacity: number): number => {
  const out = new ByteWriter()
  const state = { health: 'unknown', load: 0, target: 'active', current: 'active', cause: 'default' } as const
  writeRow(out, { id: 1, app, capacity, ...state })
  return out.take().length
}
