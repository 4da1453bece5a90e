/** Whether a connection is to a service that there is, and which was probably meant. Pure. */
import { addressPort } from '../address-port.ts'
import { didYouMean } from '../config/suggest.ts'
import type { VipsData } from '../control/types.ts'
import type { FlowTuple } from './flow-tuple.ts'

const MAX_SHOWN = 8

/** Undefined: the service is there. @param tuple with the addresses in their usual form */
export const noService = ({ protocol, vip }: FlowTuple, { vips }: VipsData): string | undefined => {
  const wanted = `${vip}/${protocol}`
  const known = [...new Set(vips.map(each => `${addressPort(each.vip, each.port)}/${each.protocol}`))]
  if (known.includes(wanted)) return undefined
  if (known.length === 0) return `no service is at ${wanted}: there are no services yet (shunt apply)`
  const more = known.length > MAX_SHOWN ? ` and ${known.length - MAX_SHOWN} more (shunt vips)` : ''
  return `no service is at ${wanted}${didYouMean(wanted, known)}; there are: ${known.slice(0, MAX_SHOWN).join(', ')}${more}`
}
