/** Compiles a contract of this folder; kept in memory for the process. */

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Abi } from 'viem'

export interface Compiled {
  abi: Abi
  /** The code that makes the contract; the constructor's arguments follow it. */
  creationCode: `0x${string}`
  /** The code as it stands on chain, its immutables still zero. */
  runtimeCode: `0x${string}`
}

interface Solc {
  compile(input: string): string
}

interface Output {
  errors?: { severity: string; formattedMessage: string }[]
  contracts?: Record<
    string,
    Record<string, { abi: Abi; evm: { bytecode: { object: string }; deployedBytecode: { object: string } } }>
  >
}

const compiled = new Map<string, Compiled>()

/** The contract `name` of the file `<name>.sol`. */
export function compileContract(name: string): Compiled {
  const known = compiled.get(name)
  if (known !== undefined) return known
  const solc = createRequire(import.meta.url)('solc') as Solc
  const file = `${name}.sol`
  const outputs = ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object']
  const input = {
    language: 'Solidity',
    sources: { [file]: { content: readFileSync(new URL(file, import.meta.url), 'utf8') } },
    settings: { evmVersion: 'paris', optimizer: { enabled: true }, outputSelection: { '*': { '*': outputs } } },
  }
  const output = JSON.parse(solc.compile(JSON.stringify(input))) as Output
  const problems = (output.errors ?? []).map(({ formattedMessage }) => formattedMessage)
  const contract = output.contracts?.[file]?.[name]
  if (problems.length > 0 || contract === undefined)
    throw new Error(`${file} does not compile cleanly: ${problems.join('\n')}`)
  const result: Compiled = {
    abi: contract.abi,
    creationCode: `0x${contract.evm.bytecode.object}`,
    runtimeCode: `0x${contract.evm.deployedBytecode.object}`,
  }
  compiled.set(name, result)
  return result
}
