/** Checks a backup as a whole before any of it is written: all its parts must be right, and of one node. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isManaged, parseNodeFile } from '../config/load.ts'
import { errorText, ShuntError } from '../errors.ts'
import type { Backup, BackupPart } from './backup.ts'
import { Ledger } from './ledger.ts'
import { identitySigner } from './operator-key.ts'
import type { FileToPut } from './put-files.ts'
import { clusterFile, parseCluster } from './store.ts'
import { clusterView } from './view.ts'

/** The peer id of an identity that is not a file yet. */
const idOf = (content: Uint8Array): string => {
  const directory = mkdtempSync(join(tmpdir(), 'shunt-restore-'))
  try {
    const file = join(directory, 'identity')
    writeFileSync(file, content, { mode: 0o600 })
    return identitySigner(file).id
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/**
 * What is to be written where. `config`: where the node file goes, instead of where it was.
 * @throws ShuntError SHUNT_ERR_STATE that says which part is not right
 */
export const checkBackup = (
  backup: Backup,
  name: string,
  config?: string,
): { files: FileToPut[]; controlSocket: string } => {
  const refuse = (why: string): ShuntError =>
    new ShuntError('SHUNT_ERR_STATE', `${name} cannot be restored: ${why}; use another backup`)
  const part = (wanted: BackupPart) => backup.files.find(f => f.part === wanted)
  const textOf = (wanted: BackupPart): string => Buffer.from(part(wanted)!.content).toString()
  try {
    const file = parseNodeFile(textOf('node-file'), 'the node file in it')
    if (!isManaged(file)) throw refuse('its node file is of a static cluster')
    const id = idOf(part('identity')!.content)
    const { cluster, statements } = parseCluster(textOf('cluster'), 'the cluster state in it')
    const ledger = new Ledger(cluster)
    for (const statement of statements) {
      const result = ledger.add(statement)
      if (typeof result === 'object') throw refuse(`a statement in it is refused: ${result.refused}`)
    }
    const known = clusterView(ledger)
    if (known === null) throw refuse('its cluster state does not say which cluster it is of')
    if (![...known.members, ...known.departed, ...known.conflicts].some(node => node.id === id))
      throw refuse(`its identity ${id} is not one of its cluster`)
    if (part('tokens') !== undefined) JSON.parse(textOf('tokens'))
    const { stateDir, identityFile, controlSocket } = file.node
    const paths: Record<BackupPart, string> = {
      'node-file': config ?? part('node-file')!.path,
      identity: identityFile,
      cluster: clusterFile(stateDir),
      tokens: join(stateDir, 'tokens.json'),
      'operator-key': part('operator-key')?.path ?? '',
    }
    return {
      files: backup.files.map(f => ({
        path: paths[f.part],
        content: f.content,
        mode: f.part === 'node-file' ? 0o644 : 0o600,
      })),
      controlSocket,
    }
  } catch (error) {
    if (error instanceof ShuntError && error.code === 'SHUNT_ERR_STATE') throw error
    throw refuse(errorText(error))
  }
}
