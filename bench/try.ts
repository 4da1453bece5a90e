import { measureConnections, TARGETS } from './connections.ts'
import { comparisonLab } from './lib/setup.ts'
import { removeBalancers } from './lib/balancers.ts'
const lab = await comparisonLab(6)
try {
  const runs = await measureConnections(lab, Number(process.argv[2] ?? 3), 3, TARGETS, r => console.log(r.round, r.target, 'n', r.connections, '/s', r.perSecond.toFixed(0), 'us', r.cpuUs.toFixed(1), 'busy', r.busy.toFixed(2), 'foreign', r.foreign.toFixed(2), 'failed', r.failed))
  console.log(Object.fromEntries(Object.entries(runs.findLast(r => r.target === 'shunt')!.counters).filter(([,v]) => v !== 0).map(([k,v]) => [k, +v.toFixed(3)])))
  console.log((await lab.api<any>('f1', '/v1/drops')).drops.filter((d: any) => d.count > 0))
} finally { await lab.down(); removeBalancers(lab.name) }
