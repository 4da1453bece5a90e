/** Rows and their parts on the wire (codec-format.ts). */
import { formatAddress, parseAddress } from '../os/inet.ts'
import type { ByteReader, ByteWriter } from './bytes.ts'
import { badHealth } from './codec-error.ts'
import {
  APP_IPV6_PHYSICAL,
  APP_IPV6_VIP,
  APP_SPECIFIC,
  APP_UDP,
  CAUSES,
  CONTROL,
  HEALTHS,
  MAX_CAPACITY,
  MAX_SPECIFIC_BYTES,
  OPERATION,
  STATES,
} from './codec-format.ts'
import type { AppId, DirectiveState, Row, RowOperation, RowState } from './types.ts'

const IPV6_BYTES = 16

export const writeId = (out: ByteWriter, id: number): void => {
  if (id === 0) throw new RangeError('a compact id is never 0')
  out.u32(id, 'a compact id')
}
export const readId = (from: ByteReader): number => from.u32() || badHealth('a row of number 0')

export const writeDirectiveState = (out: ByteWriter, state: DirectiveState): void =>
  out.u8(numberOf(STATES, state), 'a directive')
export const readDirectiveState = (from: ByteReader): DirectiveState => named(STATES, from.u8(), 'directive')

export const writeRowState = (out: ByteWriter, row: RowState): void => {
  if (row.capacity > MAX_CAPACITY)
    throw new RangeError(`a capacity is 0 to ${MAX_CAPACITY}, not ${row.capacity}`)
  writeId(out, row.id)
  out.u16(
    numberOf(HEALTHS, row.health) |
      (numberOf(STATES, row.target) << 2) |
      (numberOf(STATES, row.current) << 4) |
      (numberOf(CAUSES, row.cause) << 6),
    'the state of a row',
  )
  out.u8(row.load, 'a load')
  out.u8(row.capacity, 'a capacity')
}

export const readRowState = (from: ByteReader): RowState => {
  const id = readId(from)
  const bits = from.u16()
  const load = from.u8()
  const capacity = from.u8()
  if (capacity > MAX_CAPACITY) badHealth(`a capacity of ${capacity}`)
  return {
    id,
    health: named(HEALTHS, bits & 3, 'health'),
    load,
    capacity,
    target: named(STATES, (bits >>> 2) & 3, 'directive'),
    current: named(STATES, (bits >>> 4) & 3, 'directive'),
    cause: named(CAUSES, bits >>> 6, 'cause'),
  }
}

const writeApp = (out: ByteWriter, app: AppId): void => {
  const vip = parseAddress(app.vip)
  const physical = parseAddress(app.physical)
  if (CONTROL.test(app.specific))
    throw new RangeError('the specific part of an application holds control characters')
  out.u8(
    (vip.length === IPV6_BYTES ? APP_IPV6_VIP : 0) |
      (physical.length === IPV6_BYTES ? APP_IPV6_PHYSICAL : 0) |
      (app.protocol === 'udp' ? APP_UDP : 0) |
      (app.specific === '' ? 0 : APP_SPECIFIC),
    'flags',
  )
  out.bytes(vip)
  out.u16(app.port, 'a port')
  out.bytes(physical)
  out.u16(app.physicalPort, 'a port')
  if (app.specific !== '') out.text(app.specific, MAX_SPECIFIC_BYTES, 'the specific part of an application')
}

const readApp = (from: ByteReader): AppId => {
  const flags = from.u8()
  if (flags > (APP_IPV6_VIP | APP_IPV6_PHYSICAL | APP_UDP | APP_SPECIFIC))
    badHealth(`an application with flags ${flags}`)
  const address = (flag: number): string => formatAddress(from.bytes((flags & flag) === 0 ? 4 : IPV6_BYTES))
  const vip = address(APP_IPV6_VIP)
  const port = from.u16()
  const physical = address(APP_IPV6_PHYSICAL)
  const physicalPort = from.u16()
  const specific = (flags & APP_SPECIFIC) === 0 ? '' : from.text(MAX_SPECIFIC_BYTES)
  if ((flags & APP_SPECIFIC) !== 0 && specific === '') badHealth('a specific part that is empty')
  // It goes to logs and terminals.
  if (CONTROL.test(specific)) badHealth('a specific part with control characters')
  return { vip, port, physical, physicalPort, protocol: (flags & APP_UDP) === 0 ? 'tcp' : 'udp', specific }
}

export const writeRow = (out: ByteWriter, row: Row): void => {
  writeRowState(out, row)
  writeApp(out, row.app)
}
export const readRow = (from: ByteReader): Row => ({ ...readRowState(from), app: readApp(from) })

export const writeOperation = (out: ByteWriter, operation: RowOperation): void => {
  out.u8(OPERATION[operation.operation], 'an operation')
  if (operation.operation === 'add') writeRow(out, operation.row)
  else if (operation.operation === 'update') writeRowState(out, operation.row)
  else writeId(out, operation.id)
}
export const readOperation = (from: ByteReader): RowOperation => {
  const operation = from.u8()
  if (operation === OPERATION.add) return { operation: 'add', row: readRow(from) }
  if (operation === OPERATION.update) return { operation: 'update', row: readRowState(from) }
  if (operation === OPERATION.delete) return { operation: 'delete', id: readId(from) }
  return badHealth(`an operation of number ${operation}`)
}

const numberOf = <T extends string>(names: readonly T[], name: T): number => {
  const number = names.indexOf(name)
  if (number < 0) throw new RangeError(`one of ${names.join(', ')}, not ${name}`)
  return number
}
const named = <T extends string>(names: readonly T[], number: number, what: string): T =>
  names[number] ?? badHealth(`${what} of number ${number}`)
