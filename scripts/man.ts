/** Writes man/; a unit test fails when it is stale. */
import { globSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { manPages } from './man/pages.ts'

const dir = join(import.meta.dirname, '..', 'man')
mkdirSync(dir, { recursive: true })
for (const old of globSync('*.[15]', { cwd: dir })) rmSync(join(dir, old))
for (const [file, text] of await manPages()) writeFileSync(join(dir, file), text)
