/** Names for labs of tests, and what a lab may have left behind. */
import { randomBytes } from 'node:crypto'
import { existsSync, globSync, readdirSync, readlinkSync } from 'node:fs'

/** Unique on this machine. */
export const labName = (): string => `t${process.pid}-${randomBytes(2).toString('hex')}`

/** Everything that is left of a lab: namespaces, cgroups, files, processes. Empty when it is gone. */
export const leftovers = (name: string): string[] => {
  const left = (existsSync('/run/netns') ? readdirSync('/run/netns') : [])
    .filter(netns => netns.startsWith(`${name}-`))
    .map(netns => `namespace ${netns}`)
  left.push(...globSync(`/sys/fs/cgroup/{.,*}/shunt-lab-${name}`).map(dir => `cgroup ${dir}`))
  const dir = `/run/shunt-lab/${name}`
  if (existsSync(dir)) left.push(dir)
  // Everything that a lab starts works in its directory, also after that is deleted.
  for (const pid of readdirSync('/proc').filter(entry => /^\d+$/.test(entry))) {
    try {
      const cwd = readlinkSync(`/proc/${pid}/cwd`)
      if (cwd.startsWith(`${dir}/`)) left.push(`process ${pid} in ${cwd}`)
    } catch {
      // ended meanwhile
    }
  }
  return left
}
