/** Checks of the node file, the state directory and the files that must stay private. */
import { bytes, count } from '../../cli/format.ts'
import { type Check, type Facts, type FileFact, type Finding, fail, pass, skip, warn } from '../facts.ts'

const LEAST_FREE_BYTES = 64 << 20
/** Written by others, or read by the rest of the world: what readKeyFile refuses too. */
const TOO_OPEN = 0o027
const OTHERS_WRITE = 0o022

const octal = (mode: number): string => mode.toString(8).padStart(3, '0')

const config = ({ config: known, configFile }: Facts): Finding[] => {
  if ('error' in known)
    return [
      fail(
        `The node file is not usable: ${known.error}`,
        `correct ${configFile}, or name another by --config`,
      ),
    ]
  const { value } = known
  const mode = value.cluster.secrets === undefined ? 'managed' : 'static'
  return [pass(`${configFile} describes node ${value.node.name} of a ${mode} cluster.`)]
}

const stateDir = ({ stateDir: dir }: Facts): Finding[] => {
  if (dir === null) return [skip('Without a usable node file there is no state directory to look at.')]
  const { path, mode, isDirectory, writable, freeBytes } = dir
  if (mode === null)
    return [
      warn(`The state directory ${path} is not there yet; the agent makes it.`, `mkdir -m 700 -p ${path}`),
    ]
  if (!isDirectory) return [fail(`${path} is not a directory.`, 'correct node.stateDir in the node file')]
  if (!writable) return [fail(`${path} cannot be written by this user.`, `run as root, or chown it`)]
  if ((mode & OTHERS_WRITE) !== 0)
    return [
      fail(`Others may write to ${path} (mode ${octal(mode)}).`, `chmod 700 ${path}`, {
        kind: 'mode',
        path,
        mode: 0o700,
      }),
    ]
  if (freeBytes < LEAST_FREE_BYTES)
    return [warn(`Only ${bytes(freeBytes)} are free on the disk of ${path}.`, 'make room there')]
  return [pass(`The state directory ${path} is writable and private enough (mode ${octal(mode)}).`)]
}

const ofFile = ({ path, what, required, mode }: FileFact): Finding[] => {
  if (mode === null)
    return required
      ? [
          fail(
            `The ${what} ${path} is missing.`,
            'make it with shunt init, join or keygen, or bring it back with shunt restore',
          ),
        ]
      : []
  if ((mode & TOO_OPEN) === 0) return []
  const remedy = { kind: 'mode', path, mode: 0o600 } as const
  return [
    fail(`The ${what} ${path} is open to other users (mode ${octal(mode)}).`, `chmod 600 ${path}`, remedy),
  ]
}

const keys = ({ files }: Facts): Finding[] => {
  const bad = files.flatMap(ofFile)
  if (bad.length > 0) return bad
  const there = files.filter(file => file.mode !== null).length
  if (there === 0) return [skip('Without a usable node file there are no private files to look at.')]
  return [pass(`${count(there, 'private file')} can be read by the right users only.`)]
}

export const FILE_CHECKS: readonly Check[] = [
  { id: 'node-file', run: config },
  { id: 'state-dir', run: stateDir },
  { id: 'private-files', run: keys },
]
