/**
 * Removes a lab, whatever is left of it. Blocks, so that it also works in an 'exit' handler, where nothing can be
 * awaited.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { removeLasting } from '../agent/lasting-state.ts'
import { ShuntError } from '../errors.ts'
import { processesCounted, removeCgroups } from './cgroup.ts'
import { placeFiles } from './node-config.ts'
import { endProcesses, processesInside } from './processes.ts'
import { type LabState, labDir, removeState } from './state.ts'
import { nodesOf } from './topology.ts'

/** An agent asked to stop gets this long; nobody waits for connections of a lab that goes. */
export const GRACE_MS = 2_000

/**
 * Ends the recorded processes and whatever else runs in the lab's namespaces and cgroups, then removes these, the cgroups and
 * the files. A lab that is gone already is success.
 * @param graceMs 0 kills at once
 * @throws ShuntError SHUNT_ERR_LAB naming what is left; the lab's files stay, so that it can be tried again
 */
export const removeLab = (state: LabState, graceMs: number = GRACE_MS): void => {
  const names = state.plan.places.map(p => p.netns)
  endProcesses(
    () => [...state.processes, ...processesInside(names), ...processesCounted(state.cgroups)],
    graceMs,
  )
  const files = (name: string): string => placeFiles(labDir(state.name), name).state
  for (const { name } of nodesOf(state.plan)) removeLasting({ name, stateDir: files(name) })
  const there = () => names.filter(netns => existsSync(`/run/netns/${netns}`))
  const lines = there().map(netns => `netns delete ${netns}\n`)
  // -force: go on after one that another process has removed meanwhile.
  if (lines.length > 0) spawnSync('ip', ['-force', '-batch', '-'], { input: lines.join(''), stdio: 'pipe' })
  const left = [...there(), ...removeCgroups(state.cgroups)]
  if (left.length > 0)
    throw new ShuntError(
      'SHUNT_ERR_LAB',
      `these are left of lab ${state.name}: ${left.join(', ')}; try again: shunt lab down --name ${state.name}`,
    )
  removeState(state.name)
}
