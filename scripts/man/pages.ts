import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { VERSION } from '../../src/version.ts'
import { clusterFilePage } from './cluster-file.ts'
import { commandPages } from './commands.ts'
import { nodeFilePage } from './node-file.ts'

const packaged = (file: string): string =>
  readFileSync(join(import.meta.dirname, '..', '..', 'packaging', file), 'utf8')

/** File name and text of every manual page. */
export const manPages = async (): Promise<Map<string, string>> =>
  new Map([
    ...(await commandPages(VERSION)),
    [
      'shunt-node.yaml.5',
      nodeFilePage(VERSION, packaged('node.example.yaml'), packaged('node-static.example.yaml')),
    ],
    ['shunt-cluster.yaml.5', clusterFilePage(VERSION, packaged('cluster.example.yaml'))],
  ])
