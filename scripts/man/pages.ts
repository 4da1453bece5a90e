import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { VERSION } from '../../src/version.ts'
import { commandPages } from './commands.ts'
import { nodeFilePage } from './node-file.ts'

const EXAMPLE = join(import.meta.dirname, '..', '..', 'packaging', 'node.example.yaml')

/** File name and text of every manual page. */
export const manPages = async (): Promise<Map<string, string>> =>
  new Map([
    ...(await commandPages(VERSION)),
    ['shunt-node.yaml.5', nodeFilePage(VERSION, readFileSync(EXAMPLE, 'utf8'))],
  ])
