/** Whether all copies of atoms are where they should be, in words. Pure. */
import type { AtomsData, ServiceAtomsRow } from './atoms-types.ts'

/** Copies without which a service has not what it asks for; `full` is content with all members there are, but not with none. */
const needed = ({ wanted }: ServiceAtomsRow): number =>
  wanted === 'none' ? 0 : wanted === 'full' ? 1 : wanted

/** Agents before this one did not say what is possible. */
const lacks = (row: ServiceAtomsRow): number => Math.max(0, needed(row) - (row.possible ?? Infinity))

/** Fewer other members than copies. */
export const isShort = (row: ServiceAtomsRow): boolean => lacks(row) > 0

/** `1 of 2 copies` */
const shareText = (row: ServiceAtomsRow): string =>
  `${row.possible} of ${needed(row)} ${needed(row) === 1 ? 'copy' : 'copies'}`

const isMoving = ({ settled, moving }: AtomsData): boolean => moving ?? settled === false

/** `yes`, or `no` and what is missing; `-` of a node that is no member. */
export const settledText = (data: AtomsData): string => {
  if (data.incarnation === null) return '-'
  const short = data.services.filter(isShort).sort((a, b) => lacks(b) - lacks(a))
  const [worst] = short
  const parts: string[] = []
  if (worst !== undefined) {
    const more = short.length === 1 ? '' : ` and ${short.length - 1} more`
    const missing =
      lacks(worst) === 1
        ? 'another forwarder or classifier'
        : `${lacks(worst)} more forwarders or classifiers`
    parts.push(`${shareText(worst)} of ${worst.service}${more}: needs ${missing}`)
  }
  if (isMoving(data)) parts.push('copies are on their way to where they should be')
  return parts.length === 0 ? 'yes' : `no, ${parts.join('; ')}`
}

/** Of one service, in a few words. */
export const serviceSettledText = (row: ServiceAtomsRow, data: AtomsData): string =>
  isShort(row) ? `no, ${shareText(row)}` : isMoving(data) ? 'no' : 'yes'
