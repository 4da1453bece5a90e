import { readFileSync, readlinkSync } from 'node:fs'
import { nodeCgroup } from '../os/cgroup.ts'

/**
 * Whether the counters of `node.cgroup` can be read: by the agent if one runs, whose mounts and own group are others than ours, perhaps.
 * Throws where that cannot be known: at another user's process it takes CAP_SYS_PTRACE.
 */
export const isCgroupReadable = (asked: string, pid: number | undefined, proc = '/proc'): boolean => {
  if (pid === undefined) {
    if (asked === 'own') throw new Error('no agent can be asked for its group')
    return nodeCgroup(asked) !== null
  }
  const root = `${proc}/${pid}/root`
  readlinkSync(root)
  const own = readFileSync(`${proc}/${pid}/cgroup`, 'latin1')
  return nodeCgroup(asked, { root: `${root}/sys/fs/cgroup`, own }) !== null
}
