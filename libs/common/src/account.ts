/**
 * On whose account work is done: who calls, where a request is the cause, else the process itself. What is scarce (connections to the
 * database, signature workers) asks here, so that no service has to hand the caller on through every call.
 */

import { AsyncLocalStorage } from 'node:async_hooks'

/** One caller, as far as turns go. */
export interface Account {
  /** What callers have in common: limits are by group. */
  readonly group: string
  readonly name: string
}

/** What the process does by itself. */
const OWN: Account = { group: 'own', name: '' }

// The one place of the process where the caller stands: it follows awaits by itself, and a parameter would go through every service.
const current = new AsyncLocalStorage<Account>()

/** On whose account this is done. */
export const currentAccount = (): Account => current.getStore() ?? OWN

/** Does work on somebody's account, and what follows from it. */
export const onAccountOf = <T>(account: Account, work: () => T): T => current.run(account, work)

/** Does work that is for everybody, whoever was the first to need it. */
export const onOwnAccount = <T>(work: () => T): T => current.run(OWN, work)

/** The account in one text. */
export const accountKey = ({ group, name }: Account): string => `${group} ${name}`
