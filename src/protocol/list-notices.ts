/** What a subscription may ask for of lists, and the notification for each (2026-07-28 basic/patterns/subscriptions). */
export const LIST_NOTICES = {
  toolsListChanged: 'notifications/tools/list_changed',
  promptsListChanged: 'notifications/prompts/list_changed',
  resourcesListChanged: 'notifications/resources/list_changed',
} as const;

export type ListNotice = keyof typeof LIST_NOTICES;
