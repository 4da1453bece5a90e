import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { count } from '../cli/format.ts'
import { operatorKeyFlag } from '../cli/operator.ts'
import { json, localEnvelope, note, print } from '../cli/output.ts'
import { configFlag } from '../cli/setup-flags.ts'
import type { BackupFile, BackupPart } from '../cluster/backup.ts'
import { ShuntError } from '../errors.ts'

export default class Backup extends BaseCommand {
  static override summary = "Save this node's identity, node file and cluster state in one file."
  static override description =
    `Works on files, whether the agent runs or not. The file has mode 0600: it holds the node's private key and the
cluster's secrets. A file that exists is never overwritten (exit code 5).`
  static override examples = [
    '<%= config.bin %> backup /root/f1.backup',
    '<%= config.bin %> backup /root/f1.backup --with-operator-key',
  ]
  static override args = { file: Args.string({ description: 'The file to make.', required: true }) }
  static override flags = {
    config: configFlag,
    'with-operator-key': Flags.boolean({ description: "Save the operator's key too." }),
    'operator-key': operatorKeyFlag,
  }

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(Backup)
    const [
      { loadNodeFile },
      { clusterFile, loadCluster },
      { TOKENS_FILE },
      { formatBackup },
      { identitySigner, loadOperatorKey },
      { writeNew },
    ] = await Promise.all([
      import('../config/load.ts'),
      import('../cluster/store.ts'),
      import('../cluster/tokens-store.ts'),
      import('../cluster/backup.ts'),
      import('../cluster/operator-key.ts'),
      import('../cluster/replace-file.ts'),
    ])
    const { name, stateDir, identityFile } = loadNodeFile(flags.config).node
    // What is damaged is found now, and not when the backup is needed.
    identitySigner(identityFile)
    if (loadCluster(stateDir) === null)
      throw new ShuntError(
        'SHUNT_ERR_STATE',
        `${clusterFile(stateDir)} does not exist: ${name} is in no managed cluster, and there is nothing to back up`,
      )
    const files: BackupFile[] = []
    const add = (part: BackupPart, path: string): void => {
      files.push({ part, path, content: readFileSync(path) })
    }
    add('node-file', resolve(flags.config))
    add('identity', identityFile)
    add('cluster', clusterFile(stateDir))
    const tokens = join(stateDir, TOKENS_FILE)
    if (existsSync(tokens)) add('tokens', tokens)
    if (flags['with-operator-key']) {
      loadOperatorKey(flags['operator-key'])
      add('operator-key', resolve(flags['operator-key']))
    }
    writeNew(args.file, formatBackup({ madeAt: new Date().toISOString(), node: name, files }))
    const parts = files.map(f => f.part)
    if (flags.json)
      print(json(localEnvelope('shunt.backup-made/1', { file: args.file, node: name, parts }, name), true))
    else print(`${args.file}: ${count(files.length, 'file')} of ${name} (${parts.join(', ')})`)
    note('keep it private: who has it can be this node')
  }
}
