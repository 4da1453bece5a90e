/** What keeps new connections from their services, though hosts are there. An agent of an earlier version does not say it. Pure. */
import type { VipStatus, VipsData } from '../control/types.ts'

type Row = Pick<VipStatus, 'vip' | 'holder'> & Partial<Pick<VipStatus, 'unattended' | 'classifiers'>>

export const NO_CLASSIFIER = 'no classifier is alive: no new connections'

/** @param rows of at least one service */
export const hasNoClassifier = (rows: readonly Row[]): boolean =>
  rows.length > 0 && rows.every(({ classifiers }) => classifiers === 0)

/** One of each virtual IP whose holder's agent is not heard. */
export const unattended = <T extends Row>(rows: readonly T[]): T[] => [
  ...new Map(rows.filter(row => row.unattended && row.holder !== null).map(row => [row.vip, row])).values(),
]

export const unattendedText = ({ vip, holder }: Row): string =>
  `the agent of ${holder}, which holds ${vip}, is not heard: new connections may wait`

/** In sentences, with what to do. */
export const newConnectionTroubles = ({ vips }: VipsData): string[] => [
  ...(hasNoClassifier(vips) ? [NO_CLASSIFIER] : []),
  ...unattended(vips).map(row => `${unattendedText(row)}; shunt failover ${row.vip} moves it`),
]
