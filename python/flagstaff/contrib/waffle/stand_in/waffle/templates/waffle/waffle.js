(function () {
  function readers(results, fallback) {
    return function (name) {
      return Object.prototype.hasOwnProperty.call(results, name) ? results[name] : fallback;
    };
  }
  var FLAGS = { {% for name, active in flags %}"{{ name|escapejs }}": {{ active|yesno:"true,false,false" }}{% if not forloop.last %}, {% endif %}{% endfor %} };
  var SWITCHES = { {% for name, active in switches %}"{{ name|escapejs }}": {{ active|yesno:"true,false,false" }}{% if not forloop.last %}, {% endif %}{% endfor %} };
  var SAMPLES = { {% for name, active in samples %}"{{ name|escapejs }}": {{ active|yesno:"true,false,false" }}{% if not forloop.last %}, {% endif %}{% endfor %} };
  window.waffle = {
    flag_is_active: readers(FLAGS, {{ flag_default|yesno:"true,false,false" }}),
    switch_is_active: readers(SWITCHES, {{ switch_default|yesno:"true,false,false" }}),
    sample_is_active: readers(SAMPLES, {{ sample_default|yesno:"true,false,false" }}),
    FLAGS: FLAGS,
    SWITCHES: SWITCHES,
    SAMPLES: SAMPLES
  };
})();
