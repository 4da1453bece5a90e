/**
 * What one forwarder's messages may cost: a price for each, 1 for each claim, and a price for each VIP that is taken, given up or claimed again, since the
 * kernel, the network and all others hear of that. At once some more than a healed partition needs with as many VIPs as there can be. The next standing
 * makes up for what is refused. Pure.
 */
import { RateByKey } from '../gossip/rate-by-key.ts'

const RATE = { ratePerS: 8_192, burst: 131_072 }
const MESSAGE_PRICE = 32
export const MOVE_PRICE = 32
/** All claims are much to say. Who has missed some hears of them at once, and then with each standing; one that makes it up must not get more. */
const ALL_CLAIMS_RATE = { ratePerS: 4, burst: 16 }

export const messagePrice = (claims: number): number => MESSAGE_PRICE + claims
export const workRates = (): RateByKey => new RateByKey(RATE)
export const allClaimsRates = (): RateByKey => new RateByKey(ALL_CLAIMS_RATE)
