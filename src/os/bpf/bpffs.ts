/**
 * Where pins live. A pin must outlive the process, and with it the mount namespace of that process: a service with
 * PrivateTmp, and everything under `ip netns exec`, has one of its own that ends with it. So pins go, in this order, to
 *
 *   1. /run/shunt/bpf, if a bpffs is mounted there (by an earlier start: what is pinned is there)
 *   2. /sys/fs/bpf/shunt, if a bpffs is mounted on /sys/fs/bpf (systemd does that)
 *   3. /run/shunt/bpf, mounted now
 *
 * each as process 1 sees it, because its mounts stay.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readlinkSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { errorText, ShuntError } from '../../errors.ts'

const BPF_FS_MAGIC = 0xcafe4a11
const OWN = '/run/shunt/bpf'
const SYSTEM = '/sys/fs/bpf'

/** Whether a folder is in a bpffs. */
export const isBpffs = (path: string): boolean => {
  try {
    return statfsSync(path).type === BPF_FS_MAGIC
  } catch {
    return false
  }
}

/** Paths of process 1's mount namespace, where it is not ours and we may look into it. */
const lastingPrefix = (): string => {
  try {
    return readlinkSync('/proc/self/ns/mnt') === readlinkSync('/proc/1/ns/mnt') ? '' : '/proc/1/root'
  } catch {
    return ''
  }
}

const mount = (prefix: string): void => {
  const command = ['mount', '-t', 'bpf', '-o', 'mode=0700', 'bpf', OWN]
  const [program, ...args] =
    prefix === '' ? command : ['nsenter', '--target', '1', '--mount', '--', ...command]
  try {
    mkdirSync(join(prefix, OWN), { recursive: true, mode: 0o700 })
    execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  } catch (error) {
    const text = String((error as { stderr?: string }).stderr || errorText(error)).trim()
    throw new ShuntError(
      'SHUNT_ERR_CAPABILITY',
      `no BPF file system for state that outlives the agent: mount one before the start, with ` +
        `\`mount -t bpf bpf /sys/fs/bpf\`, or run as root (${text})`,
      { cause: error },
    )
  }
}

const checkOwner = (owner: string): void => {
  // A bpffs takes no name with a dot.
  if (!/^[\w-]{1,100}$/.test(owner)) throw new RangeError(`${JSON.stringify(owner)} is no folder name`)
}

/** The folder that an earlier `pinFolder` made, or null; makes nothing. */
export const findPinFolder = (owner: string): string | null => {
  checkOwner(owner)
  const prefix = lastingPrefix()
  for (const root of [join(prefix, OWN), join(prefix, SYSTEM, 'shunt')]) {
    const folder = join(root, owner)
    if (existsSync(folder) && isBpffs(folder)) return folder
  }
  return null
}

/**
 * Where all pins are, mounted if need be. For one who starts agents in mount namespaces of their own and may not look at process 1's: what
 * is mounted before is theirs too. Throws ShuntError (SHUNT_ERR_CAPABILITY).
 */
export const pinRoot = (): string => {
  const prefix = lastingPrefix()
  const own = join(prefix, OWN)
  const system = join(prefix, SYSTEM)
  if (isBpffs(own)) return own
  if (isBpffs(system)) return join(system, 'shunt')
  mount(prefix)
  return own
}

/**
 * The folder for the pins of `owner` (a node's id: several agents may run on a machine), made if it is not there. Its
 * content is whatever an earlier agent left. Throws ShuntError (SHUNT_ERR_CAPABILITY) when there can be none.
 */
export const pinFolder = (owner: string): string => {
  checkOwner(owner)
  const folder = join(pinRoot(), owner)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  return folder
}

/** Removes a folder of pins with everything in it: what no process holds any more is then gone from the kernel. */
export const removePins = (folder: string): void => {
  if (isBpffs(folder)) rmSync(folder, { recursive: true, force: true })
}
