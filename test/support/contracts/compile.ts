/** Compiles a contract of this folder; kept in memory for the process. */

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

interface Compiled {
  /** The code as it stands on chain. */
  runtimeCode: `0x${string}`
}

interface Solc {
  compile(input: string): string
}

interface Output {
  errors?: { severity: string; formattedMessage: string }[]
  contracts?: Record<string, Record<string, { evm: { deployedBytecode: { object: string } } }>>
}

const compiled = new Map<string, Compiled>()

/** The contract `name` of the file `<name>.sol`. */
export function compileContract(name: string): Compiled {
  const known = compiled.get(name)
  if (known !== undefined) return known
  const solc = createRequire(import.meta.url)('solc') as Solc
  const file = `${name}.sol`
  const input = {
    language: 'Solidity',
    sources: { [file]: { content: readFileSync(new URL(file, import.meta.url), 'utf8') } },
    settings: { evmVersion: 'paris', outputSelection: { '*': { '*': ['evm.deployedBytecode.object'] } } },
  }
  const output = JSON.parse(solc.compile(JSON.stringify(input))) as Output
  const errors = (output.errors ?? []).filter(({ severity }) => severity === 'error')
  const code = output.contracts?.[file]?.[name]?.evm.deployedBytecode.object
  if (errors.length > 0 || code === undefined)
    throw new Error(`${file} does not compile: ${errors.map(({ formattedMessage }) => formattedMessage).join('\n')}`)
  const result: Compiled = { runtimeCode: `0x${code}` }
  compiled.set(name, result)
  return result
}
