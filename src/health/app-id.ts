/** Application identifiers (figure 13A, column 1302A): as text, and the compact numbers that stand for them on the wire (R-B5). */
import { isIPv4 } from 'node:net'
import { formatAddress, parseAddress } from '../os/inet.ts'
import { freeNumber } from './hash.ts'
import type { AppId } from './types.ts'

/** Addresses in the form that the wire gives back, so that one endpoint has one key. Throws RangeError if one is no address. */
export const canonicalApp = (app: AppId): AppId => ({
  ...app,
  vip: canonical(app.vip),
  physical: canonical(app.physical),
})

/** Canonical text of an endpoint: `tcp/10.99.0.1:80@10.10.0.71:80`, and `/` with the specific part if there is one. Throws RangeError. */
export const appKey = (app: AppId): string =>
  `${app.protocol}/${socket(app.vip, app.port)}@${socket(app.physical, app.physicalPort)}${suffix(app)}`

/** The key of applications of one type, those that stand in for each other: `tcp/10.99.0.1:80`, with the specific part. Throws RangeError. */
export const appType = (app: Pick<AppId, 'vip' | 'port' | 'protocol' | 'specific'>): string =>
  `${app.protocol}/${socket(app.vip, app.port)}${suffix(app)}`

/** Compact number of an application (u32, never 0): from SHA-256 of its key, the next that is free. Throws RangeError. */
export const compactId = (app: AppId, taken: (id: number) => boolean): number =>
  freeNumber(appKey(app), taken)

// What Node takes for an IPv4 address is canonical text already.
const canonical = (address: string): string =>
  isIPv4(address) ? address : formatAddress(parseAddress(address))
const socket = (address: string, port: number): string => {
  const text = canonical(address)
  return text.includes(':') ? `[${text}]:${port}` : `${text}:${port}`
}
const suffix = ({ specific }: Pick<AppId, 'specific'>): string => (specific === '' ? '' : `/${specific}`)
