import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { isCgroupReadable } from '../../../src/doctor/cgroup-fact.ts'

const it = suite('doctor/cgroup-fact')
let proc: string

it.before(() => {
  proc = mkdtempSync(join(tmpdir(), 'shunt-cgroup-'))
  const group = join(proc, 'machine/sys/fs/cgroup/lab')
  mkdirSync(group, { recursive: true })
  writeFileSync(join(proc, 'machine/sys/fs/cgroup/cgroup.controllers'), 'cpu memory')
  writeFileSync(join(group, 'cpu.stat'), 'usage_usec 7')
  for (const pid of ['7', '8']) {
    mkdirSync(join(proc, pid))
    writeFileSync(join(proc, pid, 'cgroup'), '0::/lab')
  }
  symlinkSync(join(proc, 'machine'), join(proc, '7/root'))
})
it.after(() => rmSync(proc, { recursive: true }))

it('is looked at where the agent runs', () => {
  assert.ok(isCgroupReadable('/lab', 7, proc))
  assert.ok(isCgroupReadable('own', 7, proc))
  assert.not(isCgroupReadable('/other', 7, proc))
})

it('what may not be looked at is not called unreadable', () => {
  // As for a process of another user: the kernel refuses its root and shows its group.
  assert.throws(() => isCgroupReadable('/lab', 8, proc), /8\/root/)
  assert.throws(() => isCgroupReadable('own', undefined, proc), /no agent/)
})

it.run()
