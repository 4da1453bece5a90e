/** The completion script of bash; needs nothing but bash 4. Pure. */
import { type CommandModel, type CompletionModel, firstWords, secondWords, type Values } from './model.ts'

/** Words of command lines and of lists are a-z, 0-9 and - only; quoting them all the same costs nothing. */
const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`
const words = (list: readonly string[]): string => quote(list.join(' '))

const action = (values: Values): string => {
  if (values.from === 'files') return '_shunt_files'
  if (values.from === 'list') return `_shunt_words ${words(values.list)}`
  return values.from === 'agent' ? `_shunt_names ${values.noun}` : ':'
}

const spellings = (option: { name: string; char: string | undefined }): string[] => [
  `--${option.name}`,
  ...(option.char === undefined ? [] : [`-${option.char}`]),
]

const commandCase = (command: CommandModel): string => {
  const options = command.options.flatMap(spellings)
  const valued = command.options.filter(o => o.values !== null)
  const lines = [`    ${quote(command.words.join(' '))})`, `      options=${words(options)}`]
  if (valued.length > 0) {
    lines.push(`      valued=${quote(` ${valued.flatMap(spellings).join(' ')} `)}`)
    lines.push('      case $option in')
    for (const o of valued) lines.push(`        ${spellings(o).join('|')}) ${action(o.values!)}; return ;;`)
    lines.push('      esac')
  }
  if (command.args.length > 0) {
    lines.push('      _shunt_place', '      case $place in')
    command.args.forEach((arg, i) => {
      lines.push(`        ${i}) argument=${quote(action(arg.values))} ;;`)
    })
    lines.push('      esac')
  }
  return [...lines, '      ;;'].join('\n')
}

export const bashScript = (model: CompletionModel): string => {
  const topics = model.topics.map(t => t.name)
  return `# bash completion of shunt, made by: shunt completion bash
_shunt_words() { COMPREPLY=($(compgen -W "$1" -- "$cur")); }
_shunt_files() {
  local IFS=$'\\n'
  compopt -o filenames 2>/dev/null
  COMPREPLY=($(compgen -f -- "$cur"))
}
_shunt_names() { _shunt_words "$("\${COMP_WORDS[0]}" completion --names "$1" 2>/dev/null </dev/null)"; }
# How many arguments stand before the cursor: words that are neither options nor their values.
_shunt_place() {
  local i word
  place=0
  for ((i = first; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ $valued == *" $word "* ]]; then
      ((i++))
      [[ \${COMP_WORDS[i]} == = ]] && ((i++))
    elif [[ $word != -* ]]; then
      ((place++))
    fi
  done
}
_shunt() {
  local cur=\${COMP_WORDS[COMP_CWORD]} option=\${COMP_WORDS[COMP_CWORD-1]} command=\${COMP_WORDS[1]} first=2
  local options='' valued='' place=0 argument=:
  COMPREPLY=()
  # bash takes the = of --option=value for a word of its own.
  if [[ $cur == = ]]; then
    cur=''
  elif [[ $option == = ]]; then
    option=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  if ((COMP_CWORD == 1)); then
    if [[ $cur == -* ]]; then
      _shunt_words '--help --version'
    else
      _shunt_words ${words(firstWords(model).map(w => w.name))}
    fi
    return
  fi
  case $command in
${topics
  .map(
    topic => `    ${topic})
      if ((COMP_CWORD == 2)); then
        _shunt_words ${words(secondWords(model, topic).map(w => w.name))}
        return
      fi
      command="$command \${COMP_WORDS[2]}" first=3
      ;;`,
  )
  .join('\n')}
    help)
      ((COMP_CWORD == 2)) && _shunt_words ${words(firstWords(model).map(w => w.name))}
      return
      ;;
  esac
  case $command in
${model.commands.map(commandCase).join('\n')}
    *) return ;;
  esac
  if [[ $cur == -* ]]; then
    _shunt_words "$options"
  else
    eval "$argument"
  fi
}
complete -F _shunt shunt
`
}
