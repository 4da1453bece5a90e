/** The scripts in real shells, with a stand-in for shunt that knows two names of each kind. */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { bashScript } from '../../../src/completion/bash.ts'
import { fishScript } from '../../../src/completion/fish.ts'
import { zshScript } from '../../../src/completion/zsh.ts'
import { MODEL } from '../../support/completion.ts'
import { testIf } from '../../support/skip.ts'

const it = suite('completion/shells')
const dir = mkdtempSync(join(tmpdir(), 'shunt-completion-'))
const bin = join(dir, 'bin')
const files = join(dir, 'files')
const env = { PATH: `${bin}:${process.env.PATH}`, HOME: dir, TERM: 'dumb', LC_ALL: 'C.UTF-8' }

it.before(() => {
  mkdirSync(bin)
  mkdirSync(files)
  writeFileSync(
    join(bin, 'shunt'),
    '#!/bin/sh\n[ "$1 $2" = "completion --names" ] && printf "%s-a\\n%s-b\\n" "$3" "$3"\n',
  )
  chmodSync(join(bin, 'shunt'), 0o755)
  writeFileSync(join(files, 'one.yaml'), '')
  writeFileSync(join(files, 'two words.yaml'), '')
  writeFileSync(join(dir, 'shunt.bash'), bashScript(MODEL))
  mkdirSync(join(dir, 'fpath'))
  writeFileSync(join(dir, 'fpath', '_shunt'), zshScript(MODEL))
  writeFileSync(join(dir, 'shunt.fish'), fishScript(MODEL))
})
it.after(() => rmSync(dir, { recursive: true, force: true }))

const run = (shell: string, args: string[]): string => {
  const { status, stdout, stderr } = spawnSync(shell, args, {
    cwd: files,
    env,
    encoding: 'utf8',
    timeout: 20_000,
  })
  assert.equal({ status, stderr }, { status: 0, stderr: '' })
  return stdout
}

/** What a shell must offer for a line that ends at the cursor. */
const CASES: [string, string[]][] = [
  ['shunt ', ['apply', 'roles', 'config', 'help']],
  ['shunt a', ['apply']],
  ['shunt config ', ['check', 'show']],
  ['shunt config c', ['check']],
  ['shunt help r', ['roles']],
  ['shunt roles ', ['nodes-a', 'nodes-b']],
  ['shunt roles --wait 5 nodes-b', ['nodes-b']],
  ['shunt roles nodes-a ', []],
  ['shunt roles --wait ', []],
  ['shunt config show --json ', ['revisions-a', 'revisions-b']],
  ['shunt config check --kind ', ['node', 'cluster']],
  ['shunt config check --kind cl', ['cluster']],
  ['shunt config check --kind cluster ', ['one.yaml', 'two words.yaml']],
  ['shunt apply -f o', ['one.yaml']],
  ['shunt apply --file t', ['two words.yaml']],
]

/** bash splits a line at COMP_WORDBREAKS before it calls the function. */
const bashWords = (line: string): string[] => line.split(/(=)| +/).filter(part => part !== undefined)

const bashOffers = (line: string): string[] => {
  const words = bashWords(line)
  const quoted = words.map(w => `'${w}'`).join(' ')
  const script = `source ${join(dir, 'shunt.bash')}
COMP_WORDS=(${quoted}) COMP_CWORD=${words.length - 1}
complete -p shunt >/dev/null && _shunt
((\${#COMPREPLY[@]})) && printf '%s\\n' "\${COMPREPLY[@]}" || true`
  return run('bash', ['--norc', '--noprofile', '-c', script])
    .split('\n')
    .filter(l => l !== '')
}

const missing = (shell: string): string | undefined =>
  spawnSync(shell, ['--version']).status === 0 ? undefined : `${shell} is not installed`

testIf(missing('bash'), it, 'bash offers what fits', () => {
  for (const [line, expected] of CASES) assert.equal(bashOffers(line).sort(), expected.toSorted(), line)
})

testIf(missing('bash'), it, 'bash: options, and values after =', () => {
  assert.equal(bashOffers('shunt apply --').sort(), ['--file', '--help', '--wait', '--yes'])
  assert.equal(bashOffers('shunt apply -').sort(), ['--file', '--help', '--wait', '--yes', '-f', '-h', '-y'])
  assert.equal(bashOffers('shunt config check --kind=').sort(), ['cluster', 'node'])
  assert.equal(bashOffers('shunt config check --kind=n'), ['node'])
  assert.equal(bashOffers('shunt roles --wait=5 nodes-a'), ['nodes-a'])
  assert.equal(bashOffers('shunt nonsense '), [])
})

/**
 * zsh completes only in a line editor, so it runs in a pseudo-terminal of zsh's own module; what would be offered is
 * printed by a compadd of ours between markers.
 */
const ZSH = `
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'PS1= PS2= RPS1=; stty -echo 2>/dev/null; unsetopt zle_bracketed_paste; autoload -Uz compinit'
zpty -w z "fpath=(${join(dir, 'fpath')} $fpath); compinit -u -d ${join(dir, 'dump')}; cd ${files}"
zpty -w z "source ${join(dir, 'capture.zsh')}; echo rea''dy"
zpty -r z line '*ready*'
zpty -w -n z "$1"$'\t'
zpty -r z line '*<<<end>>>*'
print -r -- $line
zpty -d z
`
const CAPTURE = `
zstyle ':completion:*' verbose no
unsetopt list_ambiguous auto_menu
compadd() {
  local -a hits
  if [[ " $* " == *' -'[OADW]' '* && " $* " != *' -W '* ]] { builtin compadd "$@"; return }
  builtin compadd -A hits "$@"
  local hit
  for hit in $hits; do print -r -- "<<<\${(Q)hit}>>>"; done
  return 1
}
offer() { _main_complete; print -r -- '<<<end>>>'; compstate[insert]=''; compstate[list]='' }
zle -C offer complete-word offer
bindkey '^I' offer
`

testIf(missing('zsh'), it, 'zsh offers what fits', () => {
  writeFileSync(join(dir, 'capture.zsh'), CAPTURE)
  for (const [line, expected] of CASES) {
    const out = run('zsh', ['-fc', ZSH, 'zsh', line])
    const offers = [...out.matchAll(/<<<(.*?)>>>/g)].map(m => m[1]!).filter(o => o !== 'end')
    assert.equal([...new Set(offers)].sort(), expected.toSorted(), `${line}: ${out}`)
  }
})

testIf(missing('fish'), it, 'fish offers what fits', () => {
  for (const [line, expected] of CASES) {
    const out = run('fish', ['--no-config', '-c', `source ${join(dir, 'shunt.fish')}; complete -C '${line}'`])
    const offers = out
      .split('\n')
      .filter(l => l !== '')
      .map(l => l.split('\t')[0]!)
    assert.equal(offers.sort(), expected.toSorted(), line)
  }
})

it.run()
