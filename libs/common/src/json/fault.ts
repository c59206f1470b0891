/**
 * The first fault of a value that a check has refused, in a time that does not grow with how much of it is wrong, nor with what stands
 * behind the fault.
 */

import { IsArray, IsObject, IsUnion, type TArray, type TObject, type TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { Errors } from 'typebox/value'
import { faultWords } from '../expected.ts'

export interface Fault {
  /** Where in the value: `/shares/3/public_key`. */
  instancePath: string
  /** What is wrong, in words. */
  message: string
}

interface OneOf extends Fault {
  /** The word that would be right here, where only a few are. */
  word: string | undefined
}

/** The first faults of a value: all at one place, or none. */
type FindFaults = (value: unknown) => OneOf[]

/** What finds the first fault of values that do not fit a schema. */
export function createFaultFinder(schema: TSchema): (value: unknown) => Fault {
  const find = finderOf(schema)
  return (value) => firstOf(find(value))
}

/** Of the first faults of a value, in words: where a few words are right they are faults one by one, and none of them says which words. */
function firstOf(faults: readonly OneOf[]): Fault {
  const [first] = faults
  if (first === undefined) return UNKNOWN_FAULT
  const words = faults.flatMap((fault) => (fault.instancePath === first.instancePath ? (fault.word ?? []) : []))
  const { instancePath, message } = first
  return { instancePath, message: words.length > 0 ? `must be ${words.join(' or ')}` : message }
}

/**
 * What finds the first faults. The library looks at everything again, slowly, until it has found eight, and looks for eight more in every
 * list that may be null; here nothing behind the first fault is looked at, and the compiled check tells which item of a list has it.
 */
function finderOf(schema: TSchema): FindFaults {
  if (IsArray(schema)) return finderInList(schema)
  if (IsObject(schema)) return finderInObject(schema)
  if (!IsUnion(schema)) return (value) => faultsOf(schema, value)
  const finders = schema.anyOf.map(finderOf)
  return (value) => {
    const faults = finders.map((find) => find(value))
    return faults.every(({ length }) => length > 0) ? faults.flat() : []
  }
}

function finderInList({ items, ...list }: TArray): FindFaults {
  const item = Compile(items)
  const findInItem = finderOf(items)
  return (value) => {
    const found: unknown[] = Array.isArray(value) ? value : []
    const position = found.findIndex((some) => !item.Check(some))
    return position < 0 ? faultsOf(list, value) : below(position, findInItem(found[position]))
  }
}

function finderInObject({ properties, ...object }: TObject): FindFaults {
  const finders = Object.entries(properties).map(([name, property]) => [name, finderOf(property)] as const)
  return (value) => {
    const own = faultsOf(object, value)
    if (own.length > 0) return own
    const fields = value as Readonly<Record<string, unknown>>
    for (const [name, find] of finders) {
      const faults = Object.hasOwn(fields, name) ? find(fields[name]) : []
      if (faults.length > 0) return below(name, faults)
    }
    return []
  }
}

/** A check says that there is one; the tests hold that it is found. */
export const UNKNOWN_FAULT: Fault = { instancePath: '', message: 'is not valid' }

/** The faults of a value without what is in it. */
const faultsOf = (schema: TSchema, value: unknown): OneOf[] =>
  Errors(schema, value).map((fault) => ({
    instancePath: fault.instancePath,
    message: faultWords(schema, fault),
    word: fault.keyword === 'const' ? String(fault.params.allowedValue) : undefined,
  }))

const below = (name: string | number, faults: readonly OneOf[]): OneOf[] =>
  faults.map((fault) => ({ ...fault, instancePath: `/${name}${fault.instancePath}` }))
