import type { Driver } from '../contract.ts'
import { DNAT } from './dnat.ts'
import { HAPROXY } from './haproxy.ts'
import { SHUNT, SHUNT_ARP, SHUNT_TOGETHER } from './shunt.ts'

/** In the order of the tables. */
export const DRIVERS: readonly Driver[] = [SHUNT, SHUNT_TOGETHER, SHUNT_ARP, HAPROXY, DNAT]
