/** Rows that could take connections of a service: healthy, idle, active, with capacity 10. */
import type { Candidate } from '../../src/health/allotment/shares.ts'
import type { Row } from '../../src/health/types.ts'

export const row = (change: Partial<Row> = {}): Row => ({
  id: 1,
  app: {
    vip: '10.99.0.1',
    port: 80,
    physical: '10.10.0.71',
    physicalPort: 80,
    protocol: 'tcp',
    specific: '',
  },
  health: 'healthy',
  load: 0,
  capacity: 10,
  target: 'active',
  current: 'active',
  cause: 'default',
  ...change,
})
export const candidate = (
  host: string,
  change: Partial<Row> = {},
  rest: Partial<Candidate> = {},
): Candidate => ({
  host,
  row: row(change),
  leaseUntilMs: 2000,
  alive: true,
  upSinceMs: 0,
  ...rest,
})
