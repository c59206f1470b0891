/**
 * Turns: a bound on something scarce (connections, bytes) in all, for each group of accounts and for each account. Who is at its own
 * limit waits in its own line and nobody waits behind it; accounts of a group are served in rotation, groups in their order.
 */

import { type Account, accountKey, currentAccount } from '../account.ts'

interface TurnLimits {
  /** In all. */
  total: number
  /** By group, those that go first first. */
  groups: Readonly<Record<string, { ofOne: number; ofAll: number }>>
  /** Of accounts of any other group, which come last. */
  others: { ofOne: number; ofAll: number }
  /** How many of one account may wait. */
  waiting: number
  /** How long. */
  waitMs: number
}

/** What was given, until it is released. */
export interface Turn {
  /** Takes so much more without waiting; false, and nothing is taken, where it does not fit. */
  grow(weight: number): boolean
  /** Gives it back; a second time does nothing. */
  release(): void
}

interface Waiter {
  weight: number
  begin(): void
}
interface Line {
  account: Account
  held: number
  waiting: Waiter[]
}

/** Creates turns; nothing is held. */
export function createTurns(limits: TurnLimits) {
  /** By account, in the order in which they are served. */
  const lines = new Map<string, Line>()
  const byGroup = new Map<string, number>()
  const order = [...Object.keys(limits.groups), undefined]
  let total = 0

  const groupOf = ({ group }: Account): string | undefined => (group in limits.groups ? group : undefined)
  const limitsOf = (account: Account) => limits.groups[account.group] ?? limits.others
  /** Who holds nothing may hold one piece, however large. */
  const fits = (held: number, weight: number, most: number) => held === 0 || held + weight <= most
  const heldBy = ({ account }: Line) => byGroup.get(groupOf(account) ?? '') ?? 0

  function hold(line: Line, weight: number): void {
    line.held += weight
    total += weight
    byGroup.set(groupOf(line.account) ?? '', heldBy(line) + weight)
  }

  /** Whose turn it is, if anybody's. Who waits for the total alone is not passed by others: what is large would never get a turn. */
  function next(): Line | undefined {
    for (const group of order)
      for (const line of lines.values()) {
        const [first] = line.waiting
        if (first === undefined || groupOf(line.account) !== group) continue
        const { ofOne, ofAll } = limitsOf(line.account)
        if (!fits(line.held, first.weight, ofOne) || !fits(heldBy(line), first.weight, ofAll)) continue
        return fits(total, first.weight, limits.total) ? line : undefined
      }
    return undefined
  }

  function serve(): void {
    for (let line = next(); line !== undefined; line = next()) {
      const key = accountKey(line.account)
      lines.delete(key)
      lines.set(key, line)
      line.waiting.shift()?.begin()
    }
  }

  function turnOf(line: Line, weight: number): Turn {
    let held = weight
    hold(line, weight)
    return {
      grow(more: number): boolean {
        const { ofOne, ofAll } = limitsOf(line.account)
        const isFree = line.held + more <= ofOne && heldBy(line) + more <= ofAll && total + more <= limits.total
        // What was given back grows no more: nobody would give that back.
        if (held === 0 || !isFree) return false
        hold(line, more)
        held += more
        return true
      },
      release(): void {
        if (held === 0) return
        hold(line, -held)
        held = 0
        forget(line)
        serve()
      },
    }
  }

  function forget(line: Line): void {
    if (line.held === 0 && line.waiting.length === 0) lines.delete(accountKey(line.account))
  }

  return {
    /**
     * Takes `weight` (1 or more) when its turn comes. Undefined where too many of the account wait already, where its turn has not come
     * in time, or when the signal aborts.
     */
    take(weight = 1, { account = currentAccount(), signal }: { account?: Account; signal?: AbortSignal } = {}) {
      const key = accountKey(account)
      const line = lines.get(key) ?? { account, held: 0, waiting: [] }
      if (line.waiting.length >= limits.waiting || signal?.aborted) return Promise.resolve(undefined)
      lines.set(key, line)
      return new Promise<Turn | undefined>((resolve) => {
        const leave = () => {
          clearTimeout(timer)
          signal?.removeEventListener('abort', giveUp)
        }
        const waiter: Waiter = {
          weight,
          begin() {
            leave()
            resolve(turnOf(line, weight))
          },
        }
        const giveUp = () => {
          leave()
          line.waiting.splice(line.waiting.indexOf(waiter), 1)
          forget(line)
          // Others of the account may have waited behind this one.
          serve()
          resolve(undefined)
        }
        let timer: NodeJS.Timeout | undefined
        line.waiting.push(waiter)
        serve()
        if (!line.waiting.includes(waiter)) return
        timer = setTimeout(giveUp, limits.waitMs)
        signal?.addEventListener('abort', giveUp)
      })
    },
    /** What is held in all, or on one account. */
    held: (account?: Account): number => (account === undefined ? total : (lines.get(accountKey(account))?.held ?? 0)),
    /** Whether anybody of a group waits. */
    isWanted: (group: string): boolean =>
      lines.values().some(({ account, waiting }) => waiting.length > 0 && account.group === group),
    /** How many wait, of all or of one account. */
    waiting: (account?: Account): number =>
      account === undefined
        ? [...lines.values()].reduce((sum, line) => sum + line.waiting.length, 0)
        : (lines.get(accountKey(account))?.waiting.length ?? 0),
  }
}
export type Turns = ReturnType<typeof createTurns>
