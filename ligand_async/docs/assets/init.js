"use strict";

(() => {
  // All addresses are relative to this script: the page works wherever the service is mounted.
  const { src: here, dataset } = document.currentScript;
  const root = new URL(dataset.service, here);
  const service = root.href.replace(/\/$/, "");

  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const followSystem = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  dark.addEventListener("change", followSystem);
  followSystem();

  // Requests go where the page came from: another server of the document is another origin, which the policy refuses.
  const CallThisService = () => ({
    statePlugins: {
      spec: {
        wrapActions: {
          updateJsonSpec: (update) => (spec) => update({ ...spec, servers: [{ url: service }] }),
        },
      },
    },
  });

  window.ui = SwaggerUIBundle({
    url: new URL(dataset.document, root).href,
    dom_id: "#swagger-ui",
    deepLinking: true,
    displayRequestDuration: true,
    layout: "BaseLayout",
    oauth2RedirectUrl: new URL("oauth2-redirect.html", here).href,
    plugins: [CallThisService],
    presets: [SwaggerUIBundle.presets.apis],
    validatorUrl: null,
  });
  window.ui.initOAuth({ clientId: dataset.clientId, usePkceWithAuthorizationCodeGrant: true });
})();
