/** The completion script of zsh. Pure. */
import { type CommandModel, type CompletionModel, firstWords, secondWords, type Values } from './model.ts'

const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`
/** A description inside a specification of _arguments or _describe. */
const inner = (text: string): string => text.replace(/[\\:[\]]/g, '\\$&')

const action = (values: Values): string => {
  if (values.from === 'files') return '_files'
  if (values.from === 'list') return `(${values.list.join(' ')})`
  return values.from === 'agent' ? `_shunt_names ${values.noun}` : ' '
}

const optionSpecs = (command: CommandModel): string[] =>
  command.options.flatMap(o => {
    const spellings = [`--${o.name}`, ...(o.char === undefined ? [] : [`-${o.char}`])]
    const exclusive = o.multiple ? '*' : `(${spellings.join(' ')})`
    return spellings.map(s => {
      const value = o.values === null ? '' : `:${inner(o.name)}:${action(o.values)}`
      const joined = o.values === null ? '' : s.startsWith('--') ? '=' : '+'
      return quote(`${exclusive}${s}${joined}[${inner(o.summary)}]${value}`)
    })
  })

const argSpecs = (command: CommandModel): string[] =>
  command.args.map((arg, i) => quote(`${i + 1}:${inner(arg.name)}:${action(arg.values)}`))

const commandCase = (command: CommandModel): string => {
  const specs = [...optionSpecs(command), ...argSpecs(command)]
  return `    (${quote(command.words.join(' '))})\n      _arguments -S ${specs.join(' \\\n        ')}\n      ;;`
}

const described = (list: readonly { name: string; summary: string }[]): string =>
  list.map(w => quote(`${inner(w.name)}:${inner(w.summary)}`)).join(' \\\n        ')

export const zshScript = (model: CompletionModel): string => `#compdef shunt
# zsh completion of shunt, made by: shunt completion zsh
_shunt_names() {
  local -a names
  # _arguments puts options of compadd before our word.
  names=(\${(f)"$(shunt completion --names $argv[-1] 2>/dev/null </dev/null)"})
  compadd "\${(@)argv[1,-2]}" -a names
}
_shunt() {
  local -a choices
  local command=$words[2] skip=1
  if (( CURRENT == 2 )); then
    choices=(${described(firstWords(model))})
    _describe command choices
    return
  fi
  case $command in
${model.topics
  .map(
    ({ name }) => `    (${name})
      if (( CURRENT == 3 )); then
        choices=(${described(secondWords(model, name))})
        _describe command choices
        return
      fi
      command="$command $words[3]" skip=2
      ;;`,
  )
  .join('\n')}
    (help)
      choices=(${described(firstWords(model))})
      (( CURRENT == 3 )) && _describe command choices
      return
      ;;
  esac
  # What follows counts its arguments from the command's last word.
  shift $skip words
  (( CURRENT -= skip ))
  case $command in
${model.commands.map(commandCase).join('\n')}
  esac
}
if [ "$funcstack[1]" = _shunt ]; then
  _shunt "$@"
else
  compdef _shunt shunt
fi
`
