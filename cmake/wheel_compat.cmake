# ROS 2 wheels (PyPI) export the Python and numpy include directories of the machine that built
# them, and CMake refuses imported targets whose include directories do not exist. Drop those.
# Nothing to drop, hence nothing done, where ROS 2 came from apt or was built from source.
function(drop_missing_include_directories)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  list(FILTER targets INCLUDE REGEX "__rosidl_generator_py$")
  foreach(target IN LISTS targets)
    get_target_property(directories ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT directories)
      continue()
    endif()
    set(existing "")
    foreach(directory IN LISTS directories)
      # Relative paths and generator expressions cannot be checked here.
      if(NOT IS_ABSOLUTE "${directory}" OR EXISTS "${directory}")
        list(APPEND existing "${directory}")
      endif()
    endforeach()
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${existing}")
  endforeach()
endfunction()

# The Makefile's environment, and numpy with it, lies inside the source tree. CMake refuses to export
# include directories from there; nobody who links to us needs them, since they bring their own numpy.
# Nothing to do, hence nothing done, where the environment is elsewhere.
function(do_not_export_include_directories_of_environment target)
  get_target_property(directories ${target} INTERFACE_INCLUDE_DIRECTORIES)
  set(exportable "")
  foreach(directory IN LISTS directories)
    cmake_path(IS_PREFIX CMAKE_CURRENT_SOURCE_DIR "${directory}" inside)
    cmake_path(IS_PREFIX CMAKE_CURRENT_BINARY_DIR "${directory}" generated)
    if(inside AND NOT generated)
      set(directory "$<BUILD_INTERFACE:${directory}>")
    endif()
    list(APPEND exportable "${directory}")
  endforeach()
  set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${exportable}")
endfunction()
